#include "inference/text/tokenizer.h"
#include "inference/text/utf8.h"

namespace holdfast::text {

std::string Detokenizer::feed(TokenId id) {
    // Half a character survives a special token, as it does where special tokens are filtered out
    // before the bytes are joined.
    if (tokenizer_.is_special(id)) return {};
    pending_ += tokenizer_.bytes(id);

    std::string text;
    std::string_view rest = pending_;
    while (!rest.empty()) {
        const Utf8Character next = first_character(rest);
        if (next.state == Utf8::truncated) break;
        text += next.state == Utf8::valid ? rest.substr(0, next.length) : replacement_character;
        rest.remove_prefix(next.length);
    }
    pending_.erase(0, pending_.size() - rest.size());
    return text;
}

std::string Detokenizer::flush() {
    if (pending_.empty()) return {};
    pending_.clear();
    return std::string(replacement_character);
}

}  // namespace holdfast::text
