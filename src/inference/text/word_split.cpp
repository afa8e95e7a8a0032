#include "inference/text/word_split.h"

#include <utf8proc.h>

#include <array>
#include <cstdint>

#include "inference/text/utf8.h"

namespace holdfast::text {
namespace {

constexpr std::string_view qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum class Class : std::uint8_t { letter, number, newline, space, symbol };

// Unicode's White_Space is all separators and these controls; newlines are told apart.
Class classify(char32_t c) {
    if (c == '\r' || c == '\n') return Class::newline;
    if ((c >= 0x09 && c <= 0x0D) || c == 0x85) return Class::space;
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
            return Class::letter;
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_NO:
            return Class::number;
        case UTF8PROC_CATEGORY_ZS:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP:
            return Class::space;
        default:
            return Class::symbol;
    }
}

struct Character {
    Class kind = Class::symbol;
    std::uint8_t length = 0;  // 0 at the end of the text
};

// A place in the text and the character there.
class Cursor {
public:
    explicit Cursor(std::string_view text) : text_(text) { look(); }
    void advance() {
        at_ += character_.length;
        look();
    }
    std::size_t at() const { return at_; }
    bool at_end() const { return character_.length == 0; }
    bool is(Class kind) const { return !at_end() && character_.kind == kind; }
    bool is_space() const { return is(Class::space) || is(Class::newline); }
    // Returns the position after the run.
    std::size_t skip(Class kind) {
        while (is(kind)) advance();
        return at_;
    }

private:
    void look() {
        if (at_ == text_.size()) {
            character_ = {};
            return;
        }
        static const std::array<Class, 128> ascii = [] {
            std::array<Class, 128> classes{};
            for (char32_t c = 0; c < 128; ++c) classes[c] = classify(c);
            return classes;
        }();
        if (const auto byte = static_cast<std::uint8_t>(text_[at_]); byte < 128) {
            character_ = {ascii[byte], 1};
            return;
        }
        const Utf8Character next = first_character(text_.substr(at_));
        const bool valid = next.state == Utf8::valid;
        character_ = {valid ? classify(next.code_point) : Class::symbol, next.length};
    }

    std::string_view text_;
    std::size_t at_ = 0;
    Character character_;
};

// (?i:'s|'t|'re|'ve|'m|'ll|'d), or 0. Case folding makes U+017F, the long s, an s as well.
std::size_t contraction(std::string_view text) {
    if (text.size() < 2 || text[0] != '\'') return 0;
    const auto lower = [&](std::size_t i) {
        const char byte = i < text.size() ? text[i] : '\0';
        return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
    };
    const char first = lower(1), second = lower(2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if (second == 'e' && (first == 'r' || first == 'v')) return 3;
    if (second == 'l' && first == 'l') return 3;
    return text.substr(1).starts_with("\xC5\xBF") ? 3 : 0;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ at a white space: up to the last newline of the run; else, before other
// text, all but the last space, which the next word may want.
std::size_t spaces(Cursor cursor) {
    std::size_t after_newline = 0, last = 0;
    for (; cursor.is_space(); cursor.advance()) {
        last = cursor.at();
        if (cursor.is(Class::newline)) after_newline = last + 1;
    }
    if (after_newline > 0) return after_newline;
    return cursor.at_end() || last == 0 ? cursor.at() : last;
}

}  // namespace

std::optional<WordSplitter> WordSplitter::for_pattern(std::string_view pattern) {
    if (pattern == qwen2_pattern) return qwen2();
    if (pattern == llama3_pattern) return llama3();
    return std::nullopt;
}

std::size_t WordSplitter::first_word(std::string_view text) const {
    if (const std::size_t length = contraction(text); length > 0) return length;
    Cursor cursor(text);
    if (cursor.is(Class::letter)) return cursor.skip(Class::letter);
    if (cursor.is(Class::number)) {
        for (std::size_t n = 0; n < digits_max_ && cursor.is(Class::number); ++n) cursor.advance();
        return cursor.at();
    }
    if (cursor.is(Class::newline)) return spaces(cursor);

    // A space or a symbol may lead letters; only U+0020 may lead symbols.
    Cursor next = cursor;
    next.advance();
    if (next.is(Class::letter)) return next.skip(Class::letter);
    if (cursor.is(Class::symbol) || (text[0] == ' ' && next.is(Class::symbol))) {
        next.skip(Class::symbol);
        return next.skip(Class::newline);
    }
    return spaces(cursor);
}

}  // namespace holdfast::text
