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
    chat::Generation request;
    std::vector<chat::TokenId> prompt;
};

// Steps 1 and 5 to 8 of sampler.h word by word: each candidate is compared with all others.
chat::TokenId draw_by_the_book(const std::vector<float>& row, const text::Tokenizer& tokenizer,
                               const chat::Sampling& sampling, std::uint32_t position) {
    struct Weighed {
        float logit;
        chat::TokenId id;
        std::uint64_t weight;
    };
    float largest = -infinity;
    for (std::size_t id = 0; id < row.size(); ++id)
        if (tokenizer.exists(static_cast<chat::TokenId>(id))) largest = std::max(largest, row[id]);
    std::vector<Weighed> all;
    for (std::size_t i = 0; i < row.size(); ++i) {
        const auto id = static_cast<chat::TokenId>(i);
        if (!tokenizer.exists(id)) continue;
        const double exponent = (static_cast<double>(row[i]) - largest) / sampling.temperature;
        const double exact = exact_exp(std::max(exponent, -700.0)) * 0x1p44;
        all.push_back({row[i], id, static_cast<std::uint64_t>(std::nearbyint(exact))});
    }
    // What comes before each candidate: `limit` says what they may be together.
    const auto keep = [&](auto measure, std::uint64_t limit) {
        std::vector<Weighed> kept;
        for (const Weighed& one : all) {
            std::uint64_t before = 0;
            for (const Weighed& other : all)
                if (other.logit > one.logit || (other.logit == one.logit && other.id < one.id))
                    before += measure(other);
            if (before < limit) kept.push_back(one);
        }
        all = kept;
    };
    const auto share_of = [](std::uint64_t weight, float share) {
        return static_cast<std::uint64_t>(
            std::ceil(static_cast<double>(weight) * static_cast<double>(share)));
    };
    const auto total = [&] {
        std::uint64_t sum = 0;
        for (const Weighed& one : all) sum += one.weight;
        return sum;
    };
    if (sampling.top_k > 0)
        keep([](const Weighed&) { return std::uint64_t{1}; },
             static_cast<std::uint64_t>(sampling.top_k));
    if (sampling.top_p < 1.0F)
        keep([](const Weighed& one) { return one.weight; }, share_of(total(), sampling.top_p));
    std::erase_if(all, [&](const Weighed& one) {
        return one.weight < share_of(std::uint64_t{1} << 44, sampling.min_p);
    });
    const auto random = static_cast<std::uint64_t>(
        static_cast<double>(base::uniform(*sampling.seed, 0, position)) * 0x1p24);
    __extension__ using Wide = unsigned __int128;
    const auto target = static_cast<std::uint64_t>(Wide{total()} * random >> 24);
    for (const Weighed& one : all) {
        std::uint64_t sum = 0;
        for (const Weighed& other : all) sum += other.id <= one.id ? other.weight : 0;
        if (sum > target) return one.id;
    }
    return -1;
}

// A vocabulary whose first ids, last ids and some between have no token.
class HoledTokenizer final : public text::Tokenizer {
public:
    static constexpr chat::TokenId vocab = 700;
    std::vector<chat::TokenId> encode(std::string_view) const override { return {}; }
    std::string_view bytes(chat::TokenId) const override { return "x"; }
    bool is_special(chat::TokenId) const override { return false; }
    bool exists(chat::TokenId id) const override {
        return id >= 3 && id < 680 && (id < 100 || id > 102) && id != 200;
    }
    std::optional<chat::TokenId> find(std::string_view) const override { return std::nullopt; }
    chat::TokenId size() const override { return vocab; }
};

// Logits in coarse steps, so that many are equal; some are masked, and those without a token are
// anything.
std::vector<float> coarse_row(std::uint32_t round, const text::Tokenizer& tokenizer) {
    std::vector<float> row;
    for (std::uint32_t id = 0; id < HoledTokenizer::vocab; ++id) {
        const auto bits = base::philox({id, round, 0, 0}, {9, 0});
        row.push_back(static_cast<float>(bits[0] % 97) * (round % 3 == 0 ? 0.1F : 0.4F));
        if (bits[1] % 50 == 0) row.back() = -infinity;
        if (!tokenizer.exists(static_cast<chat::TokenId>(id)))
            row.back() = bits[2] % 2 == 0 ? infinity : 1000.0F;
    }
    return row;
}

chat::Generation varied_sampling(std::uint32_t round) {
    chat::Generation request;
    request.sampling.seed = round;
    request.sampling.temperature = std::array{0.05F, 0.6F, 1.0F, 2.0F}[round % 4];
    if (round % 5 < 3) request.sampling.top_p = std::array{0.95F, 0.3F, 0.9999F}[round % 5];
    if (round % 7 < 3) request.sampling.top_k = std::array{40, 600, 1}[round % 7];
    if (round % 11 < 2) request.sampling.min_p = round % 11 == 0 ? 0.1F : 1.0F;
    return request;
}

}  // namespace

TEST(Sampler, DrawsByTheBook) {
    const HoledTokenizer tokenizer;
    model::Shape shape;
    shape.vocab = HoledTokenizer::vocab;
    Sampler sampler(tokenizer, shape);
    std::set<chat::TokenId> drawn;
    std::uint64_t mixed = 0;
    for (std::uint32_t round = 0; round < 800; ++round) {
        const std::vector<float> row = coarse_row(round, tokenizer);
        const chat::Generation request = varied_sampling(round);
        TokenState state(tokenizer, request.sampling, {.output = {.tokens_max = 1000}}, {});
        ASSERT_TRUE(state.replay(std::vector<chat::TokenId>(round, 3)));
        const auto draw = sampler.sample(row, request, 0, state);
        ASSERT_TRUE(draw);
        ASSERT_EQ(draw->id, draw_by_the_book(row, tokenizer, request.sampling, round)) << round;
        drawn.insert(draw->id);
        mixed = mixed * 31 + static_cast<std::uint64_t>(draw->id);
    }
    EXPECT_GT(drawn.size(), 150U);
    // On every machine, compiler and backend. When it changes, so must sampler_version.
    EXPECT_EQ(mixed, 0x76ea440ba8b85e05ULL);
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

TEST_F(SamplerTest, TopPCountsEqualLogitsByTheirIds) {
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

TEST_F(SamplerTest, LogProbabilitiesOfAllIdsAreOfOneDistribution) {
    for (std::size_t id = 0; id < row.size(); ++id)
        row[id] =
            static_cast<float>(base::philox({static_cast<std::uint32_t>(id), 0, 0, 0}, {1, 1})[0]) *
            0x1p-28F;
    request.logprobs = 0;
    double sum = 0;
    for (chat::TokenId id = 0; id < tokenizer.size(); ++id) {
        request.sampling.logit_bias = {{id, 100.0F}};
        sum += std::exp(static_cast<double>(sample().score->logprob));
    }
    EXPECT_NEAR(sum, 1.0, 1e-6);
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
