#include "tools/eval/score.h"

#include <gtest/gtest.h>

#include <cmath>

namespace holdfast::eval {
namespace {

// Four tokens, and one row of the head that is padding.
class FourTokens final : public text::Tokenizer {
public:
    std::vector<text::TokenId> encode(std::string_view /*text*/) const override { return {}; }
    std::string_view bytes(text::TokenId /*id*/) const override { return "x"; }
    bool is_special(text::TokenId /*id*/) const override { return false; }
    bool exists(text::TokenId id) const override { return id < 4; }
    std::optional<text::TokenId> find(std::string_view /*token*/) const override {
        return std::nullopt;
    }
    text::TokenId size() const override { return 4; }
};

std::vector<float> logs(std::initializer_list<double> probabilities) {
    std::vector<float> out;
    for (const double one : probabilities) out.push_back(static_cast<float>(std::log(one)));
    return out;
}

TEST(LogProbabilities, LeaveOutPaddingRows) {
    const LogProbabilities of(FourTokens(), 5);
    std::vector<float> out;
    // The padding row has the largest logit and must not count.
    of.compute(
        std::vector<float>{std::log(1.0F), std::log(2.0F), std::log(4.0F), std::log(1.0F), 1'000},
        out);
    EXPECT_NEAR(out[0], std::log(0.125), 1e-6);
    EXPECT_NEAR(out[2], std::log(0.5), 1e-6);
    EXPECT_TRUE(std::isinf(out[4]));
    EXPECT_EQ(top_id(out), 2);
}

TEST(Divergence, IsThatOfTheFormula) {
    const auto reference = logs({0.5, 0.25, 0.25}), other = logs({0.25, 0.5, 0.25});
    // 0.5 log 2 - 0.25 log 2
    EXPECT_NEAR(divergence(reference, other), 0.25 * std::log(2.0), 1e-6);
    EXPECT_EQ(divergence(reference, reference), 0);
}

TEST(Divergence, OfARecordIsNeverMoreThanTheWhole) {
    const auto reference = logs({0.5, 0.2, 0.2, 0.1}), other = logs({0.4, 0.1, 0.1, 0.4});
    const double whole = divergence(reference, other);
    double before = 0;
    for (const std::uint32_t kept : {1U, 2U, 3U, 4U}) {
        const double part = divergence(likeliest(reference, 0, kept), other);
        EXPECT_LE(part, whole + 1e-6);
        EXPECT_GE(part, before - 1e-6);  // more tokens tell more
        before = part;
    }
    EXPECT_NEAR(before, whole, 1e-6);
    EXPECT_NEAR(divergence(likeliest(reference, 0, 2), reference), 0, 1e-6);
}

TEST(Likeliest, AreInOrderAndTiesById) {
    const Likeliest found = likeliest(logs({0.2, 0.4, 0.2, 0.2}), 3, 3);
    ASSERT_EQ(found.top.size(), 3U);
    EXPECT_EQ(found.top[0].first, 1);
    EXPECT_EQ(found.top[1].first, 0);
    EXPECT_EQ(found.top[2].first, 2);
    EXPECT_EQ(found.right, 3);
    EXPECT_NEAR(found.right_log_probability, std::log(0.2), 1e-6);
    EXPECT_EQ(likeliest(logs({1.0}), 0, 20).top.size(), 1U);
}

TEST(Likelihood, OfEvenChancesIsTheirNumber) {
    Likelihood likelihood;
    for (int i = 0; i < 7; ++i) likelihood.add(std::log(0.125));
    EXPECT_NEAR(likelihood.perplexity(), 8, 1e-9);
}

TEST(Agreement, RemembersTheWorstPosition) {
    Agreement agreement;
    agreement.add(0.1, true, 0, 5);
    agreement.add(0.7, false, 1, 9);
    agreement.add(0.2, true, 2, 1);
    EXPECT_EQ(agreement.positions, 3U);
    EXPECT_EQ(agreement.same_top, 2U);
    EXPECT_EQ(agreement.worst, 0.7);
    EXPECT_EQ(agreement.worst_passage, 1U);
    EXPECT_EQ(agreement.worst_position, 9U);
}

}  // namespace
}  // namespace holdfast::eval
