#include "inference/backend/cpu/rotary.h"

#include <gtest/gtest.h>

#include <cmath>

namespace holdfast::cpu {
namespace {

TEST(Rotary, TurnsByTheAnglesOfTheFormulaUpToPosition131072) {
    const Rotary rotary(10'000.0F, 128);
    std::vector<float> sines(64), cosines(64);
    for (const std::uint32_t position : {0U, 1U, 17U, 4'095U, 131'071U}) {
        rotary.angles(position, sines.data(), cosines.data());
        for (std::size_t i = 0; i < 64; ++i) {
            // transformers rounds frequency and angle to float32.
            const auto frequency =
                1.0F / static_cast<float>(std::pow(10'000.0, static_cast<double>(i) / 64));
            const double angle = static_cast<float>(position) * frequency;
            EXPECT_NEAR(sines[i], std::sin(angle), 6e-8) << position << " " << i;
            EXPECT_NEAR(cosines[i], std::cos(angle), 6e-8) << position << " " << i;
        }
    }
}

TEST(Rotary, HasAccuratePolynomials) {
    for (int i = -200'000; i <= 200'000; ++i) {
        const double angle = i * 1.2345;
        const SineCosine both = sine_cosine(angle);
        ASSERT_NEAR(both.sine, std::sin(angle), 1e-15) << angle;
        ASSERT_NEAR(both.cosine, std::cos(angle), 1e-15) << angle;
    }
    for (const double base : {1.0, 500.0, 1e4, 1e6, 1e12})
        for (int i = 0; i <= 64; ++i) {
            const double expected = std::pow(base, i / 64.0);
            ASSERT_NEAR(power(base, i / 64.0), expected, 1e-14 * expected);
        }
}

// Recorded from transformers 5.23 (torch 2.15), _compute_llama3_parameters.
TEST(Rotary, StretchesLikeTransformersToTheBit) {
    Rotary rotary(500'000.0F, 128);
    rotary.stretch({});
    const std::vector<float> expected{
        0x1.3d2804p-8F,  0x1.025c6ap-8F,  0x1.a4ee4p-9F,   0x1.1bfa0cp-9F,  0x1.67a23ap-10F,
        0x1.c12f3cp-11F, 0x1.132ba4p-11F, 0x1.47e21p-12F,  0x1.765ba4p-13F, 0x1.90d10cp-14F,
        0x1.46831ap-14F, 0x1.09fb7ep-14F, 0x1.b15902p-15F, 0x1.610332p-15F, 0x1.1f91fp-15F,
        0x1.d484dep-16F, 0x1.7da9e8p-16F, 0x1.36e8eap-16F};
    for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_EQ(rotary.frequencies()[26 + i], expected[i]) << i;

    Rotary small(500'000.0F, 64);
    small.stretch({.factor = 3.7F,
                   .low_frequency_factor = 1,
                   .high_frequency_factor = 4,
                   .original_context = 64});
    const std::vector<float> first{1,
                                   0x1.53c38cp-1F,
                                   0x1.c2ef78p-2F,
                                   0x1.c1801ep-3F,
                                   0x1.931c98p-4F,
                                   0x1.6c9e5cp-5F,
                                   0x1.7a25c8p-6F,
                                   0x1.f5e0dep-7F};
    for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(small.frequencies()[i], first[i]) << i;
}

TEST(Rotary, DividesEachFrequencyByItsNumber) {
    const Rotary plain(10'000.0F, 32);
    Rotary divided = plain;
    std::vector<float> divisors(16, 1.0F);
    divisors[3] = 4.0F;
    divided.divide(divisors);
    for (std::size_t i = 0; i < 16; ++i)
        EXPECT_EQ(divided.frequencies()[i], plain.frequencies()[i] / divisors[i]);
}

}  // namespace
}  // namespace holdfast::cpu
