#include "inference/model/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "inference/backend/cpu/isa.h"
#include "inference/model/model.h"
#include "inference/model/test_checkpoint.h"
#include "inference/model/test_reference.h"

namespace holdfast::model {
namespace {

using Tokens = std::vector<chat::TokenId>;
using Logits = std::vector<std::vector<float>>;

Tokens some_tokens(std::size_t count, std::uint32_t stream) {
    Tokens tokens;
    for (std::size_t i = 0; i < count; ++i)
        tokens.push_back(static_cast<chat::TokenId>(base::uniform(5, stream, i) * 211));
    return tokens;
}

struct Variant {
    std::string isa;
    std::uint32_t threads = 1;
};

std::vector<Variant> variants(std::initializer_list<std::uint32_t> thread_counts) {
    std::vector<Variant> all;
    for (const cpu::Isa isa : cpu::all_isas)
        if (cpu::is_supported(isa))
            for (const std::uint32_t threads : thread_counts)
                all.push_back({std::string(cpu::name(isa)), threads});
    return all;
}

// One sequence in a model: owns the list of its blocks.
struct Sequence {
    Tokens tokens;
    std::vector<BlockId> blocks;
    std::uint32_t done = 0;
    Logits logits;

    Slice next(std::uint32_t count) const {
        count = std::min<std::uint32_t>(count, static_cast<std::uint32_t>(tokens.size()) - done);
        return {std::span(tokens).subspan(done, count), done, blocks, count};
    }
};

class DecoderTest : public ::testing::Test {
protected:
    DecoderTest() { write_checkpoint(folder_, config_, tensors_); }

    std::unique_ptr<Model> load_variant(const Variant& variant) {
        auto model = load(folder_.path(), {.threads = variant.threads,
                                           .kv_tokens = 16'384,
                                           .batch_tokens_max = 512,
                                           .isa = variant.isa});
        if (!model) ADD_FAILURE() << model.error().what;
        return std::move(model).value();
    }

    // Blocks of different sequences alternate, and no sequence has them in ascending order.
    static Sequence sequence(Tokens tokens, std::uint32_t index) {
        Sequence result{.tokens = std::move(tokens)};
        const std::size_t blocks = (result.tokens.size() + block_tokens - 1) / block_tokens;
        for (std::size_t i = 0; i < blocks; ++i)
            result.blocks.push_back(static_cast<BlockId>((blocks - 1 - i) * 33 + index));
        return result;
    }

    static void take(std::span<Sequence*> batch, std::span<const Slice> slices,
                     std::span<const float> logits, std::size_t vocab) {
        for (std::size_t i = 0; i < batch.size(); ++i) {
            for (std::uint32_t row = 0; row < slices[i].logits; ++row) {
                batch[i]->logits.emplace_back(logits.begin(), logits.begin() + vocab);
                logits = logits.subspan(vocab);
            }
            batch[i]->done += static_cast<std::uint32_t>(slices[i].tokens.size());
        }
        EXPECT_TRUE(logits.empty());
    }

    // All logits of the tokens, `chunk` tokens per forward.
    Logits run(Model& model, const Tokens& tokens, std::uint32_t chunk) {
        Sequence alone = sequence(tokens, 0);
        while (alone.done < tokens.size()) {
            const Slice slice = alone.next(chunk);
            Sequence* batch[] = {&alone};
            take(batch, {&slice, 1}, model.forward({&slice, 1}), config_.vocab);
        }
        return alone.logits;
    }

    static void expect_same_bits(const Logits& a, const Logits& b, const std::string& what) {
        ASSERT_EQ(a.size(), b.size()) << what;
        for (std::size_t i = 0; i < a.size(); ++i)
            ASSERT_EQ(0, std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)))
                << what << ", token " << i;
    }

    tensor::Config config_ = test_config();
    TestTensors tensors_ = random_tensors(config_, 3);
    base::testing::TemporaryFolder folder_;
};

double largest_difference(const Logits& rows, const std::vector<std::vector<double>>& expected) {
    double worst = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        double largest = 0, difference = 0;
        for (std::size_t j = 0; j < rows[i].size(); ++j) {
            largest = std::max(largest, std::abs(expected[i][j]));
            difference = std::max(difference, std::abs(expected[i][j] - rows[i][j]));
        }
        worst = std::max(worst, difference / largest);
    }
    return worst;
}

TEST_F(DecoderTest, ComputesWhatTheFormulasSay) {
    const Tokens tokens = some_tokens(200, 0);
    const auto model = load_variant({});
    const auto expected = Reference(config_, tensors_).logits(tokens);
    const Logits rows = run(*model, tokens, 64);
    ASSERT_EQ(rows.size(), tokens.size());
    EXPECT_LT(largest_difference(rows, expected), 1e-5);
}

TEST_F(DecoderTest, GivesTheSameBitsOnEveryInstructionSetAndNumberOfThreads) {
    const Tokens tokens = some_tokens(150, 1);
    Logits first;
    for (const Variant& variant : variants({1, 2, 3})) {
        const auto model = load_variant(variant);
        const Logits rows = run(*model, tokens, 150);
        if (first.empty()) first = rows;
        expect_same_bits(first, rows, fmt::format("{} {}", variant.isa, variant.threads));
    }
}

TEST_F(DecoderTest, GivesTheSameBitsHoweverThePromptIsCut) {
    const Tokens tokens = some_tokens(200, 2);
    for (const Variant& variant : variants({2})) {
        const auto model = load_variant(variant);
        const Logits whole = run(*model, tokens, 200);
        std::vector<std::uint32_t> chunks{1, 7, 129};
        if (variant.isa != "scalar") chunks.insert(chunks.end(), {2, 5, 13, 16, 127, 128});
        for (const std::uint32_t chunk : chunks)
            expect_same_bits(whole, run(*model, tokens, chunk),
                             fmt::format("{} {} chunk {}", variant.isa, variant.threads, chunk));
    }
}

TEST_F(DecoderTest, GivesTheSameBitsAloneAndAmong31Others) {
    for (const Variant& variant : variants({2})) {
        const auto model = load_variant(variant);
        std::vector<Sequence> sequences;
        std::vector<Logits> alone;
        for (std::uint32_t i = 0; i < 32; ++i) {
            sequences.push_back(sequence(some_tokens(5 + 9 * i % 140, 10 + i), i));
            alone.push_back(run(*model, sequences.back().tokens, 64));
        }
        // Steps of uneven slices: decoding rows and chunks of prompts side by side.
        for (std::uint32_t step = 0;; ++step) {
            std::vector<Slice> slices;
            std::vector<Sequence*> batch;
            for (std::uint32_t i = 0; i < 32; ++i) {
                Sequence& one = sequences[(i * 5 + step) % 32];
                if (one.done == one.tokens.size()) continue;
                batch.push_back(&one);
                slices.push_back(one.next((i + step) % 3 == 0 ? 1 : 1 + (i * 7 + step) % 23));
            }
            if (batch.empty()) break;
            take(batch, slices, model->forward(slices), config_.vocab);
        }
        for (std::uint32_t i = 0; i < 32; ++i)
            expect_same_bits(alone[i], sequences[i].logits,
                             fmt::format("{} {} sequence {}", variant.isa, variant.threads, i));
    }
}

TEST_F(DecoderTest, LeavesNoTraceOfOneSequenceInAnotherThatReusesItsBlocks) {
    const auto model = load_variant({});
    const Tokens tokens = some_tokens(37, 3);
    const Logits fresh = run(*model, tokens, 37);
    run(*model, some_tokens(400, 4), 400);
    expect_same_bits(fresh, run(*model, tokens, 37), "after another sequence");
}

TEST_F(DecoderTest, GivesLogitsOnlyForTheTokensThatWantThem) {
    const auto model = load_variant({.threads = 2});
    const Tokens tokens = some_tokens(40, 5);
    const Logits all = run(*model, tokens, 40);
    const Sequence a = sequence(tokens, 0), b = sequence(tokens, 1), c = sequence(tokens, 2);
    const Slice slices[] = {
        {a.tokens, 0, a.blocks, 0}, {b.tokens, 0, b.blocks, 1}, {c.tokens, 0, c.blocks, 3}};
    const auto rows = model->forward(slices);
    ASSERT_EQ(rows.size(), std::size_t{4} * config_.vocab);
    Logits got;
    for (std::ptrdiff_t i = 0; i < 4; ++i)
        got.emplace_back(rows.begin() + i * config_.vocab, rows.begin() + (i + 1) * config_.vocab);
    expect_same_bits({all[39], all[37], all[38], all[39]}, got, "last tokens");
    const Slice none[] = {{a.tokens, 0, a.blocks, 0}};
    EXPECT_TRUE(model->forward(none).empty());
}

TEST_F(DecoderTest, MovesItsProgressSeveralTimesPerLayer) {
    const auto model = load_variant({});
    const std::uint64_t before = model->progress();
    run(*model, some_tokens(1, 6), 1);
    EXPECT_GE(model->progress() - before, std::uint64_t{3} * config_.layers);
}

TEST_F(DecoderTest, ReadsTiedHeadsAndFloat32) {
    config_.tied_head = true;
    tensors_ = random_tensors(config_, 4);
    const Tokens tokens = some_tokens(60, 7);
    const auto expected = Reference(config_, tensors_).logits(tokens);
    Logits first;
    for (const char* const type : {"BF16", "F32"}) {
        write_checkpoint(folder_, config_, tensors_, type);
        for (const Variant& variant : variants({1})) {
            const Logits rows = run(*load_variant(variant), tokens, 60);
            EXPECT_LT(largest_difference(rows, expected), 1e-5);
            if (first.empty()) first = rows;
            expect_same_bits(first, rows, fmt::format("{} {}", type, variant.isa));
        }
    }
}

TEST_F(DecoderTest, HasAFingerprintOfConfigurationAndWeights) {
    const std::string original = load_variant({})->fingerprint();
    EXPECT_TRUE(original.starts_with("portable-1-bf16-")) << original;
    EXPECT_EQ(original, load_variant({.isa = "scalar", .threads = 2})->fingerprint());

    tensors_["model.layers.1.mlp.up_proj.weight"].values[5] = 0.5F;
    write_checkpoint(folder_, config_, tensors_);
    const std::string other_weights = load_variant({})->fingerprint();
    EXPECT_NE(original, other_weights);

    config_.rope_theta = 20'000;
    write_checkpoint(folder_, config_, tensors_);
    EXPECT_NE(other_weights, load_variant({})->fingerprint());
}

}  // namespace
}  // namespace holdfast::model
