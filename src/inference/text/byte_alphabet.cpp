#include "inference/text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "inference/text/utf8.h"

namespace holdfast::text {
namespace {

constexpr std::int16_t outside = -1;

constexpr bool stands_for_itself(int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// From code point to byte. 68 bytes do not stand for themselves.
constexpr auto alphabet = [] {
    std::array<std::int16_t, 0x100 + 68> bytes{};
    std::size_t next = 0x100;
    bytes.fill(outside);
    for (int byte = 0; byte < 256; ++byte) {
        const std::size_t code_point = stands_for_itself(byte) ? byte : next++;
        bytes[code_point] = static_cast<std::int16_t>(byte);
    }
    return bytes;
}();
static_assert(alphabet.back() == 0xAD);

// From byte to code point.
constexpr auto letters = [] {
    std::array<char32_t, 256> code_points{};
    for (std::size_t c = 0; c < alphabet.size(); ++c)
        if (alphabet[c] != outside)
            code_points[static_cast<std::size_t>(alphabet[c])] = static_cast<char32_t>(c);
    return code_points;
}();

}  // namespace

std::optional<std::string> bytes_of_spelling(std::string_view spelling) {
    std::string bytes;
    while (!spelling.empty()) {
        const Utf8Character next = first_character(spelling);
        if (next.state != Utf8::valid || next.code_point >= alphabet.size()) return std::nullopt;
        if (alphabet[next.code_point] == outside) return std::nullopt;
        bytes.push_back(static_cast<char>(alphabet[next.code_point]));
        spelling.remove_prefix(next.length);
    }
    return bytes;
}

std::string spelling_of_bytes(std::string_view bytes) {
    std::string spelling;
    for (const char byte : bytes) append_utf8(spelling, letters[static_cast<std::uint8_t>(byte)]);
    return spelling;
}

}  // namespace holdfast::text
