#include "inference/text/normalizer.h"

#include <gtest/gtest.h>

#include <random>

#include "inference/text/utf8.h"

namespace holdfast::text {
namespace {

std::string nfc(std::string_view text) {
    static const Normalizer normalizer;
    std::string buffer;
    return std::string(normalizer.normalize(text, buffer));
}

}  // namespace

TEST(Normalizer, ComposesWhatHasAComposedForm) {
    EXPECT_EQ(nfc("e\u0301le\u0300ve"), "\u00e9l\u00e8ve");
    EXPECT_EQ(nfc("a\u0302\u0323"), "\u1ead");
    EXPECT_EQ(nfc("\u304b\u3099"), "\u304c");
    EXPECT_EQ(nfc("\u1112\u1161\u11ab"), "\ud55c");
    EXPECT_EQ(nfc("\ud558\u11ab"), "\ud55c");
    EXPECT_EQ(nfc("\u0061\u0315\u0300\u05ae\u0062"), "\u00e0\u05ae\u0315\u0062");
}

TEST(Normalizer, ReplacesWhatMustNotBeComposed) {
    EXPECT_EQ(nfc("\u2126\u212b"), "\u03a9\u00c5");
    EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");
    EXPECT_EQ(nfc("\u0344"), "\u0308\u0301");
    EXPECT_EQ(nfc("\U0001d15e"), "\U0001d157\U0001d165");
    EXPECT_EQ(nfc("\U0002f81a"), "\u51ac");
}

TEST(Normalizer, KeepsCharactersThatAreAlreadyNormalised) {
    for (const std::string text : {"", "plain", "\u00e9\u1ead", "\ufb01\uff01\u00bd",
                                   "思考。ー가각", "\u0f71\u0f72", "\U00030000\U000e0100"})
        EXPECT_EQ(nfc(text), text);
}

TEST(Normalizer, DoesNotTakeThePlaceBeforeTheTrailingConsonantsForOneOfThem) {
    EXPECT_EQ(nfc("\uc800\u11a7"), "\uc800\u11a7");
    EXPECT_EQ(nfc("\u110c\u1165\u11a7\u11a8"), "\uc800\u11a7\u11a8");
    EXPECT_EQ(nfc("\u11a7e\u0301"), "\u11a7\u00e9");
}

TEST(Normalizer, ChangesNothingTheSecondTime) {
    std::mt19937 random(17);
    const std::vector<std::pair<char32_t, char32_t>> ranges{
        {0x41, 0x7A},   {0xC0, 0x17F},    {0x300, 0x370},   {0x591, 0x5F4},   {0x900, 0xE00},
        {0xF00, 0xFD0}, {0x1100, 0x1200}, {0x3040, 0x3100}, {0xAC00, 0xAC40}, {0x1D15E, 0x1D1C0}};
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        for (unsigned n = random() % 12; n > 0; --n) {
            const auto [first, last] = ranges[random() % ranges.size()];
            append_utf8(text, first + random() % (last - first));
        }
        const std::string once = nfc(text);
        ASSERT_EQ(nfc(once), once);
    }
}

}  // namespace holdfast::text
