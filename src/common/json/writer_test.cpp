#include "common/json/writer.h"

#include <gtest/gtest.h>

namespace holdfast::json {
namespace {

std::string escaped(std::string_view text) {
    std::string out;
    append_escaped(out, text);
    return out;
}

TEST(Writer, EscapesAByteAloneAsInTheMiddleOfAnything) {
    for (int byte = 0; byte < 0x80; ++byte) {
        const std::string one(1, static_cast<char>(byte));
        const std::string alone = escaped(one);
        EXPECT_EQ(alone == one, byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7F);
        for (std::size_t at = 0; at < 20; ++at)
            EXPECT_EQ(escaped(std::string(at, '!') + one + std::string(19 - at, '~')),
                      std::string(at, '!') + alone + std::string(19 - at, '~'));
    }
}

}  // namespace
}  // namespace holdfast::json
