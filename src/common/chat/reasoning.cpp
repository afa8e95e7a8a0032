#include "common/chat/reasoning.h"

namespace holdfast::chat {
namespace {

constexpr std::string_view open_tag = "<think>";
constexpr std::string_view close_tag = "</think>";

bool is_newline(char byte) { return byte == '\n' || byte == '\r'; }

}  // namespace

ReasoningSplitter::Parts ReasoningSplitter::feed(std::string_view text) {
    Parts parts;
    for (const char byte : text) feed_byte(byte, parts);
    return parts;
}

ReasoningSplitter::Parts ReasoningSplitter::flush() {
    Parts parts;
    release(parts);
    return parts;
}

void ReasoningSplitter::feed_byte(char byte, Parts& parts) {
    if (feed_tag(byte)) return;
    if (!tag_.empty()) {
        // Both tags have their only `<` in front, so what failed to become a tag hides no other.
        release(parts);
        if (feed_tag(byte)) return;
    }
    if (is_newline(byte)) {
        // The newlines may turn out to stand before a tag. In the answer no tag can follow.
        newlines_ += byte;
        if (!thinking_ && !at_start_) release(parts);
        return;
    }
    release(parts);
    at_start_ = after_tag_ = false;
    (thinking_ ? parts.reasoning : parts.content) += byte;
}

// True if `byte` goes on a tag that may stand here; a complete one changes the part.
bool ReasoningSplitter::feed_tag(char byte) {
    const std::string_view next = tag_.empty() ? std::string_view(&byte, 1) : (tag_ += byte);
    const bool opens = at_start_ && open_tag.starts_with(next);
    const bool closes = thinking_ && close_tag.starts_with(next);
    if (!opens && !closes) {
        if (!tag_.empty()) tag_.pop_back();
        return false;
    }
    if (opens && next == open_tag) {
        enter(true);
    } else if (closes && next == close_tag) {
        enter(false);
    } else if (tag_.empty()) {
        tag_ = byte;
    }
    return true;
}

void ReasoningSplitter::enter(bool thinking) {
    thinking_ = thinking;
    at_start_ = false;
    after_tag_ = true;
    newlines_.clear();
    tag_.clear();
}

// What was held back is text after all, except newlines that follow a tag.
void ReasoningSplitter::release(Parts& parts) {
    const bool drop_newlines = after_tag_ || (at_start_ && thinking_);
    std::string& part = thinking_ ? parts.reasoning : parts.content;
    if (!drop_newlines) part += newlines_;
    newlines_.clear();
    if (tag_.empty()) return;
    part += tag_;
    tag_.clear();
    at_start_ = after_tag_ = false;
}

}  // namespace holdfast::chat
