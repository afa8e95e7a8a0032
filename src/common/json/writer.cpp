#include "common/json/writer.h"

#include <utf8proc.h>

#include <array>
#include <cmath>
#include <limits>

namespace holdfast::json {
namespace {

enum class Kind : std::uint8_t { plain, escape, high };

constexpr std::array<Kind, 256> kinds = [] {
    std::array<Kind, 256> table{};
    for (int byte = 0; byte < 0x20; ++byte) table[byte] = Kind::escape;
    table['"'] = table['\\'] = table[0x7F] = Kind::escape;
    for (int byte = 0x80; byte < 0x100; ++byte) table[byte] = Kind::high;
    return table;
}();

constexpr std::size_t block_bytes = 16;

// True if a block of bytes needs no escape. No early exit, so that it compiles to vector code.
bool block_is_plain(const char* bytes) {
    unsigned char special = 0;
    for (std::size_t i = 0; i < block_bytes; ++i) {
        const auto byte = static_cast<unsigned char>(bytes[i]);
        special |= static_cast<unsigned char>((byte < 0x20) | (byte == '"') | (byte == '\\') |
                                              (byte >= 0x7F));
    }
    return special == 0;
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

// Bytes of the character that `text` begins with; 0 or less if it begins with none.
utf8proc_ssize_t character_length(std::string_view text) {
    utf8proc_int32_t code_point = 0;
    return utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                            static_cast<utf8proc_ssize_t>(text.size()), &code_point);
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

void append_escaped(std::string& out, std::string_view text) {
    std::size_t run = 0;  // start of what is copied as it stands
    std::size_t at = 0;
    while (at < text.size()) {
        if (text.size() - at >= block_bytes && block_is_plain(text.data() + at)) {
            at += block_bytes;
            continue;
        }
        const auto byte = static_cast<unsigned char>(text[at]);
        if (kinds[byte] == Kind::plain) {
            ++at;
            continue;
        }
        const utf8proc_ssize_t length =
            kinds[byte] == Kind::high ? character_length(text.substr(at)) : 0;
        if (length > 0) {
            at += static_cast<std::size_t>(length);
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

void append_string(std::string& out, std::string_view text) {
    out += '"';
    append_escaped(out, text);
    out += '"';
}

void append_number(std::string& out, float value) { append_float(out, value); }
void append_number(std::string& out, double value) { append_float(out, value); }

}  // namespace holdfast::json
