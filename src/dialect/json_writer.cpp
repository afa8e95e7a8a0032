#include "dialect/json_writer.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "dialect/utf8.h"

namespace holdfast::dialect {
namespace {

enum class Kind : std::uint8_t { plain, escape, high };

constexpr std::array<Kind, 256> kinds = [] {
    std::array<Kind, 256> table{};
    for (int byte = 0; byte < 0x20; ++byte) table[byte] = Kind::escape;
    table['"'] = table['\\'] = table[0x7F] = Kind::escape;
    for (int byte = 0x80; byte < 0x100; ++byte) table[byte] = Kind::high;
    return table;
}();

// True if eight bytes need no escape. Tests all bytes of a word at once (Warren, "Hacker's
// Delight", 2nd edition, section 6-1): a byte is zero where (x - 0x01) & ~x has its high bit set.
bool eight_plain(const char* bytes) {
    constexpr std::uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    const auto zero = [&](std::uint64_t x) { return (x - ones) & ~x; };
    const std::uint64_t below_space = (word - ones * 0x20) & ~word;
    const std::uint64_t special =
        zero(word ^ ones * '"') | zero(word ^ ones * '\\') | zero(word ^ ones * 0x7F);
    return ((word | below_space | special) & highs) == 0;
}

void append_escape(std::string& out, unsigned char byte) {
    switch (byte) {
        case '"':
            out += "\\\"";
            return;
        case '\\':
            out += "\\\\";
            return;
        case '\n':
            out += "\\n";
            return;
        case '\r':
            out += "\\r";
            return;
        case '\t':
            out += "\\t";
            return;
        default:
            break;
    }
    constexpr std::string_view hex = "0123456789abcdef";
    out += "\\u00";
    out += hex[byte >> 4];
    out += hex[byte & 15];
}

template <class Float>
void append_float(std::string& out, Float value) {
    if (std::isnan(value)) {
        out += "null";
        return;
    }
    if (std::isinf(value)) {
        value = std::copysign(std::numeric_limits<Float>::max(), value);
    }
    char digits[64];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    out.append(digits, end);
}

}  // namespace

void append_json_escaped(std::string& out, std::string_view text) {
    std::size_t run = 0;  // start of what is copied as it stands
    std::size_t at = 0;
    while (at < text.size()) {
        if (text.size() - at >= sizeof(std::uint64_t) && eight_plain(text.data() + at)) {
            at += sizeof(std::uint64_t);
            continue;
        }
        const auto byte = static_cast<unsigned char>(text[at]);
        if (kinds[byte] == Kind::plain) {
            ++at;
            continue;
        }
        const std::size_t length = kinds[byte] == Kind::high ? utf8_length(text.substr(at)) : 0;
        if (length > 0) {
            at += length;
            continue;
        }
        out.append(text, run, at - run);
        if (kinds[byte] == Kind::high) {
            out += "\xEF\xBF\xBD";
        } else {
            append_escape(out, byte);
        }
        run = ++at;
    }
    out.append(text, run);
}

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    append_json_escaped(out, text);
    out += '"';
}

void append_json_number(std::string& out, float value) { append_float(out, value); }
void append_json_number(std::string& out, double value) { append_float(out, value); }

}  // namespace holdfast::dialect
