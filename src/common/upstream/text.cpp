#include "common/upstream/text.h"

#include <algorithm>

namespace holdfast::upstream {

std::string one_line(std::string_view text, std::size_t bytes_max) {
    std::size_t end = std::min(text.size(), bytes_max);
    const auto continues = [&](std::size_t at) {
        return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
    };
    while (end > 0 && continues(end)) --end;
    std::string out(text.substr(0, end));
    const auto is_control = [](unsigned char byte) { return byte < 0x20 || byte == 0x7F; };
    std::ranges::replace_if(out, is_control, ' ');
    return out;
}

}  // namespace holdfast::upstream
