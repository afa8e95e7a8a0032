#include "inference/engine/sampler.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "common/base/random.h"
#include "inference/engine/exact_math.h"
#include "inference/engine/fakes.h"

namespace holdfast::engine {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// A sampler over a vocabulary of 300 rows, 288 of them tokens; all logits are -10 until set.
class SamplerTest : public testing::Test {
protected:
    SamplerTest() : row(FakeTokenizer::vocab, -10.0F) { request.sampling.seed = 1; }

    // A choice that has generated `position` tokens.
    TokenState at(std::uint32_t position, chat::TokenId token = 'z') const {
        TokenRules rules{
            .output = {.min_tokens = request.stopping.min_tokens, .tokens_max = 1U << 20},
            .late_ids = {FakeTokenizer::eos}};
        rules.late_ids.insert(rules.late_ids.end(), request.stopping.stop_token_ids.begin(),
                              request.stopping.stop_token_ids.end());
        TokenState state(tokenizer, request.sampling, std::move(rules), prompt);
        EXPECT_TRUE(state.replay(std::vector<chat::TokenId>(position, token)));
        return state;
    }
    Sampler::Draw sample(const TokenState& state, std::uint32_t choice = 0) {
        auto draw = sampler.sample(row, request, choice, state);
        EXPECT_TRUE(draw);
        return *draw;
    }
    Sampler::Draw sample() { return sample(at(0)); }
    // Share of each id among draws at the first `count` positions.
    std::map<chat::TokenId, double> shares(std::uint32_t count = 4000) {
        std::map<chat::TokenId, double> share;
        TokenState state = at(0);
        for (std::uint32_t i = 0; i < count; ++i) {
            share[sample(state).id] += 1.0 / count;
            state.feed('z');
        }
        return share;
    }

    FakeTokenizer tokenizer;
    FakeModel model;
    Sampler sampler{tokenizer, model.shape()};
    std::vector<float> row;
    chat::Request request;
    std::vector<chat::TokenId> prompt;
};

// Steps 1 and 5 to 8 of sampler.h, one after the other and over the whole row.
chat::TokenId draw_by_the_book(const std::vector<float>& row, const text::Tokenizer& tokenizer,
                               const chat::Sampling& sampling, std::uint32_t position) {
    struct Weighed {
        float logit;
        chat::TokenId id;
        double weight;
    };
    std::vector<Weighed> all;
    float largest = -infinity;
    for (std::size_t id = 0; id < row.size(); ++id)
        if (tokenizer.exists(static_cast<chat::TokenId>(id))) largest = std::max(largest, row[id]);
    for (std::size_t i = 0; i < row.size(); ++i) {
        const auto id = static_cast<chat::TokenId>(i);
        const double exponent = (static_cast<double>(row[i]) - largest) / sampling.temperature;
        if (tokenizer.exists(id) && exponent >= -32.0)
            all.push_back({row[i], id, exact_exp(exponent)});
    }
    const auto sum_of = [&] {
        double sum = 0.0;
        for (const Weighed& one : all) sum += one.weight;
        return sum;
    };
    double wanted = sum_of() * sampling.top_p;
    if (sampling.top_k > 0 || sampling.top_p < 1.0F)
        std::ranges::sort(all, [](const Weighed& a, const Weighed& b) {
            return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
        });
    if (sampling.top_k > 0 && all.size() > static_cast<std::size_t>(sampling.top_k))
        all.resize(static_cast<std::size_t>(sampling.top_k));
    if (sampling.top_k > 0) wanted = sum_of() * sampling.top_p;
    if (sampling.top_p < 1.0F) {
        std::size_t kept = 0;
        for (double sum = 0.0; kept < all.size() && sum < wanted; ++kept) sum += all[kept].weight;
        all.resize(std::max<std::size_t>(kept, 1));
    }
    std::erase_if(all, [&](const Weighed& one) { return one.weight < sampling.min_p; });
    const double target = sum_of() * base::uniform(*sampling.seed, 0, position);
    double sum = 0.0;
    for (const Weighed& one : all) {
        sum += one.weight;
        if (sum > target) return one.id;
    }
    return all.back().id;
}

// A vocabulary whose first ids, last ids and some between have no token.
class HoledTokenizer final : public text::Tokenizer {
public:
    static constexpr chat::TokenId vocab = 5000;
    std::vector<chat::TokenId> encode(std::string_view) const override { return {}; }
    std::string_view bytes(chat::TokenId) const override { return "x"; }
    bool is_special(chat::TokenId) const override { return false; }
    bool exists(chat::TokenId id) const override {
        return id >= 3 && id < 4900 && (id < 1000 || id > 1002) && id != 2000;
    }
    std::optional<chat::TokenId> find(std::string_view) const override { return std::nullopt; }
    chat::TokenId size() const override { return vocab; }
};

}  // namespace

TEST(Sampler, DrawsByTheBookFromALargeVocabulary) {
    const HoledTokenizer tokenizer;
    model::Shape shape;
    shape.vocab = HoledTokenizer::vocab;
    Sampler sampler(tokenizer, shape);
    std::set<chat::TokenId> drawn;
    for (std::uint32_t round = 0; round < 600; ++round) {
        std::vector<float> row;
        for (std::uint32_t id = 0; id < shape.vocab; ++id) {
            const auto bits = base::philox({id, round, 0, 0}, {9, 0});
            // Coarse steps, so that many logits are equal.
            row.push_back(static_cast<float>(bits[0] % 97) * (round % 3 == 0 ? 0.1F : 0.4F));
            if (bits[1] % 50 == 0) row.back() = -infinity;
            if (!tokenizer.exists(static_cast<chat::TokenId>(id)))
                row.back() = bits[2] % 2 == 0 ? infinity : 1000.0F;
        }
        chat::Request request;
        request.sampling.seed = round;
        request.sampling.temperature = std::array{0.05F, 0.6F, 1.0F, 2.0F}[round % 4];
        if (round % 5 < 2) request.sampling.top_p = round % 5 == 0 ? 0.95F : 0.3F;
        if (round % 7 < 2) request.sampling.top_k = round % 7 == 0 ? 40 : 10'000;
        if (round % 11 == 0) request.sampling.min_p = 0.1F;
        TokenState state(tokenizer, request.sampling, {.output = {.tokens_max = 1000}}, {});
        ASSERT_TRUE(state.replay(std::vector<chat::TokenId>(round, 3)));
        const auto draw = sampler.sample(row, request, 0, state);
        ASSERT_TRUE(draw);
        ASSERT_EQ(draw->id, draw_by_the_book(row, tokenizer, request.sampling, round)) << round;
        drawn.insert(draw->id);
    }
    EXPECT_GT(drawn.size(), 200U);
}

TEST_F(SamplerTest, GreedyTakesTheLargestLogitAndTheLowestIdAmongEquals) {
    request.sampling.temperature = 0;
    row[70] = row[50] = row[90] = 3.0F;
    EXPECT_EQ(sample().id, 50);
    row[299] = 100.0F;  // a padding row
    EXPECT_EQ(sample().id, 50);
    row[90] = 3.5F;
    EXPECT_EQ(sample().id, 90);
}

TEST_F(SamplerTest, DrawsEachIdAsOftenAsItsProbabilitySays) {
    row[10] = std::log(0.5F);
    row[11] = std::log(0.3F);
    row[12] = std::log(0.2F);
    for (std::size_t id = 0; id < row.size(); ++id)
        if (id < 10 || id > 12) row[id] = -infinity;
    const auto share = shares();
    EXPECT_EQ(share.size(), 3U);
    EXPECT_NEAR(share.at(10), 0.5, 0.03);
    EXPECT_NEAR(share.at(11), 0.3, 0.03);
    EXPECT_NEAR(share.at(12), 0.2, 0.03);

    request.sampling.temperature = 0.5F;  // squares the ratios: 25 : 9 : 4
    EXPECT_NEAR(shares().at(10), 25.0 / 38, 0.03);
    request.sampling.temperature = 1e-30F;
    EXPECT_EQ(shares(10).size(), 1U);
}

TEST_F(SamplerTest, TheDrawIsAFunctionOfSeedChoiceAndPosition) {
    std::ranges::fill(row, 0.0F);
    const auto first = sample(at(5)).id;
    EXPECT_EQ(sample(at(5)).id, first);
    EXPECT_NE(sample(at(5), 1).id, first);
    EXPECT_NE(sample(at(6)).id, first);
    request.sampling.seed = 2;
    EXPECT_NE(sample(at(5)).id, first);
}

TEST_F(SamplerTest, TopKKeepsTheLikeliestAndTheLowestIdsAmongEquals) {
    for (int id = 100; id < 110; ++id) row[static_cast<std::size_t>(id)] = 2.0F;
    row[200] = 2.5F;
    request.sampling.top_k = 4;
    const auto share = shares();
    ASSERT_EQ(share.size(), 4U);
    for (const chat::TokenId id : {100, 101, 102, 200}) EXPECT_TRUE(share.contains(id)) << id;
    request.sampling.top_k = 1'000'000;
    EXPECT_EQ(sample().id, sample().id);
}

TEST_F(SamplerTest, TopPKeepsTheFewestIdsThatHoldTheShare) {
    std::ranges::fill(row, -infinity);
    row[5] = std::log(0.1F);
    row[6] = std::log(0.6F);
    row[7] = std::log(0.3F);
    request.sampling.top_p = 0.59F;
    EXPECT_EQ(shares(500).size(), 1U);
    request.sampling.top_p = 0.61F;
    EXPECT_EQ(shares(500).size(), 2U);
    request.sampling.top_p = 0.91F;
    EXPECT_EQ(shares(500).size(), 3U);
}

TEST_F(SamplerTest, TopPFindsItsSetBeyondTheFirstSortedPart) {
    // 280 equal ids: 0.75 of them are 210, by id.
    std::ranges::fill(row, -infinity);
    std::fill_n(row.begin(), 280, 1.0F);
    request.sampling.top_p = 0.7499F;
    const auto share = shares(20'000);
    EXPECT_EQ(share.size(), 210U);
    EXPECT_EQ(share.rbegin()->first, 209);
}

TEST_F(SamplerTest, MinPDropsWhatIsFarLessLikelyThanTheLikeliest) {
    std::ranges::fill(row, -infinity);
    row[5] = 0.0F;
    row[6] = std::log(0.5F);
    row[7] = std::log(0.1F);
    request.sampling.min_p = 0.2F;
    const auto share = shares(1000);
    EXPECT_EQ(share.size(), 2U);
    EXPECT_FALSE(share.contains(7));
}

TEST_F(SamplerTest, PenaltiesLowerWhatWasSeen) {
    request.sampling.temperature = 0;
    row[20] = 4.0F;
    row[21] = 3.0F;
    request.sampling.repetition_penalty = 1.5F;  // 4 / 1.5 < 3
    prompt = {20};
    EXPECT_EQ(sample().id, 21);
    std::ranges::fill(row, -4.0F);  // -4 * 1.5 < -4
    prompt = {0, 1};
    EXPECT_EQ(sample().id, 2);
    request.sampling.repetition_penalty = 1.0F;

    row[20] = 4.0F;
    row[21] = 3.0F;
    request.sampling.presence_penalty = 0.5F;
    request.sampling.frequency_penalty = 0.3F;
    prompt = {20, 20, 20};
    EXPECT_EQ(sample().id, 20) << "these two look at generated ids only";
    EXPECT_EQ(sample(at(1, 20)).id, 20);  // 4 - 0.3 - 0.5
    EXPECT_EQ(sample(at(2, 20)).id, 21);  // 4 - 0.6 - 0.5
}

TEST_F(SamplerTest, LogitBiasRaisesAndLowers) {
    request.sampling.temperature = 0;
    row[20] = 4.0F;
    request.sampling.logit_bias = {{30, 100.0F}, {20, -100.0F}};
    EXPECT_EQ(sample().id, 30);
}

TEST_F(SamplerTest, EndAndStopIdsAreMaskedBeforeMinTokens) {
    request.sampling.temperature = 0;
    request.stopping.min_tokens = 3;
    request.stopping.stop_token_ids = {40};
    row[FakeTokenizer::eos] = 9.0F;
    row[40] = 8.0F;
    row[41] = 7.0F;
    EXPECT_EQ(sample(at(2)).id, 41);
    EXPECT_EQ(sample(at(3)).id, FakeTokenizer::eos);
}

TEST_F(SamplerTest, ScoresAreOfTheDistributionBeforeEverythingElse) {
    std::ranges::fill(row, -infinity);
    row[5] = std::log(0.1F);
    row[6] = std::log(0.6F);
    row[7] = std::log(0.3F);
    row[290] = 50.0F;  // a padding row counts for nothing
    request.sampling.temperature = 0.1F;
    request.sampling.top_k = 1;
    request.sampling.logit_bias = {{5, 50.0F}};
    request.logprobs = 2;
    const Sampler::Draw draw = sample();
    EXPECT_EQ(draw.id, 5);
    ASSERT_TRUE(draw.score);
    EXPECT_EQ(draw.score->id, 5);
    EXPECT_EQ(draw.score->bytes, tokenizer.bytes(5));
    EXPECT_NEAR(draw.score->logprob, std::log(0.1), 1e-6);
    ASSERT_EQ(draw.score->top.size(), 2U);
    EXPECT_EQ(draw.score->top[0].id, 6);
    EXPECT_NEAR(draw.score->top[0].logprob, std::log(0.6), 1e-6);
    EXPECT_EQ(draw.score->top[1].id, 7);
}

TEST_F(SamplerTest, AlternativesAreTheLikeliestInOrderAndLowestIdsFirst) {
    for (std::size_t id = 0; id < row.size(); ++id) row[id] = static_cast<float>(id * 37 % 100);
    request.logprobs = 20;
    const auto top = sample().score->top;
    ASSERT_EQ(top.size(), 20U);
    for (std::size_t i = 1; i < top.size(); ++i) {
        const float before = row[static_cast<std::size_t>(top[i - 1].id)];
        const float here = row[static_cast<std::size_t>(top[i].id)];
        EXPECT_TRUE(before > here || (before == here && top[i - 1].id < top[i].id));
    }
    request.logprobs = 0;
    EXPECT_TRUE(sample().score->top.empty());
}

TEST_F(SamplerTest, LogitsThatAreNotNumbersAreAnError) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity}) {
        auto broken = row;
        broken[77] = bad;
        const auto draw = sampler.sample(broken, request, 0, at(0));
        ASSERT_FALSE(draw);
        EXPECT_EQ(draw.error().code, base::Code::internal);
    }
    std::ranges::fill(row, -infinity);
    EXPECT_FALSE(sampler.sample(row, request, 0, at(0)));
    row[77] = -3.0F;
    EXPECT_EQ(sample().id, 77);
}

}  // namespace holdfast::engine
