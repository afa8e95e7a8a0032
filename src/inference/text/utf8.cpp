#include "inference/text/utf8.h"

namespace holdfast::text {
namespace {

// What may follow a lead byte: the number of continuation bytes, and the range of the first one
// (the Unicode Standard, table 3-7). A length of 0 marks a byte that cannot lead.
struct Lead {
    std::uint8_t continuations = 0;
    std::uint8_t low = 0x80, high = 0xBF;
};

Lead lead(std::uint8_t byte) {
    if (byte >= 0xC2 && byte <= 0xDF) return {1};
    if (byte == 0xE0) return {2, 0xA0, 0xBF};
    if (byte == 0xED) return {2, 0x80, 0x9F};
    if (byte >= 0xE1 && byte <= 0xEF) return {2};
    if (byte == 0xF0) return {3, 0x90, 0xBF};
    if (byte >= 0xF1 && byte <= 0xF3) return {3};
    if (byte == 0xF4) return {3, 0x80, 0x8F};
    return {};
}

}  // namespace

Utf8Character first_character(std::string_view text) {
    const auto byte_at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const std::uint8_t first = byte_at(0);
    if (first < 0x80) return {Utf8::valid, 1, first};
    const Lead shape = lead(first);
    if (shape.continuations == 0) return {Utf8::invalid, 1};

    char32_t code_point = first & (0x3F >> shape.continuations);
    for (std::uint8_t i = 1; i <= shape.continuations; ++i) {
        if (i == text.size()) return {Utf8::truncated, i};
        const std::uint8_t low = i == 1 ? shape.low : 0x80;
        const std::uint8_t high = i == 1 ? shape.high : 0xBF;
        if (byte_at(i) < low || byte_at(i) > high) return {Utf8::invalid, i};
        code_point = code_point << 6 | (byte_at(i) & 0x3F);
    }
    return {Utf8::valid, static_cast<std::uint8_t>(shape.continuations + 1), code_point};
}

void append_utf8(std::string& out, char32_t code_point) {
    const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    const auto continuation = [&](int shift) { put(0x80 | (code_point >> shift & 0x3F)); };
    if (code_point < 0x80) {
        put(code_point);
    } else if (code_point < 0x800) {
        put(0xC0 | code_point >> 6);
        continuation(0);
    } else if (code_point < 0x10000) {
        put(0xE0 | code_point >> 12);
        continuation(6);
        continuation(0);
    } else {
        put(0xF0 | code_point >> 18);
        continuation(12);
        continuation(6);
        continuation(0);
    }
}

}  // namespace holdfast::text
