#include "common/telemetry/printable.h"

#include <fmt/format.h>
#include <utf8proc.h>

namespace holdfast::telemetry {

namespace {

struct Piece {
    std::string_view bytes;
    bool valid = false;
    bool control = false;  // C0, DEL or C1: what a terminal may obey
};

Piece next_piece(std::string_view text) {
    utf8proc_int32_t code_point = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                         static_cast<utf8proc_ssize_t>(text.size()), &code_point);
    if (length <= 0) return {text.substr(0, 1), false, false};
    const bool control = code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
    return {text.substr(0, static_cast<std::size_t>(length)), true, control};
}

std::string escaped(const Piece& piece) {
    if (piece.valid && !piece.control) return std::string(piece.bytes);
    if (piece.bytes == "\n") return "\\n";
    if (piece.bytes == "\r") return "\\r";
    if (piece.bytes == "\t") return "\\t";
    std::string text;
    for (const char byte : piece.bytes) {
        text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
    return text;
}

}  // namespace

std::string valid_utf8(std::string_view text, std::size_t bytes_max) {
    std::string clean;
    while (!text.empty()) {
        const Piece piece = next_piece(text);
        const std::string_view bytes = piece.valid ? piece.bytes : "\xEF\xBF\xBD";
        if (clean.size() + bytes.size() > bytes_max) break;
        clean += bytes;
        text.remove_prefix(piece.bytes.size());
    }
    return clean;
}

void append_printable(std::string& out, std::string_view text, std::size_t bytes_max) {
    constexpr std::string_view cut_mark = "...";
    std::size_t cut_at = out.size();  // the longest whole text that leaves room for the mark
    while (!text.empty()) {
        const Piece piece = next_piece(text);
        const std::string bytes = escaped(piece);
        if (out.size() + bytes.size() > bytes_max) {
            out.resize(cut_at);
            out += cut_mark;
            return;
        }
        out += bytes;
        if (out.size() + cut_mark.size() <= bytes_max) cut_at = out.size();
        text.remove_prefix(piece.bytes.size());
    }
}

}  // namespace holdfast::telemetry
