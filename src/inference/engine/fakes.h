// For tests: a tokenizer of a few hundred tokens and a model whose logits are a hash of the token
// prefix, so that every contract of the engine can be checked exactly and fast.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "inference/model/model.h"
#include "inference/text/tokenizer.h"

namespace holdfast::engine {

// Ids 0..255 are bytes; then special tokens, the think tags and some pieces, half characters among
// them; ids from `size` on are padding rows of the model.
class FakeTokenizer final : public text::Tokenizer {
public:
    static constexpr chat::TokenId bos = 256, user = 257, assistant = 258, eos = 259, think = 260,
                                   end_think = 261, first_piece = 262, half = 268,
                                   other_half = 270;  // of 世 and of 😀
    static constexpr std::uint32_t vocab = 300;

    FakeTokenizer() {
        for (int byte = 0; byte < 256; ++byte) tokens_.emplace_back(1, static_cast<char>(byte));
        for (const char* name : {"<｜begin▁of▁sentence｜>",
                                 "<｜User｜>",
                                 "<｜Assistant｜>",
                                 "<｜end▁of▁sentence｜>",
                                 "<think>",
                                 "</think>",
                                 "st",
                                 "op",
                                 "sto",
                                 "p!",
                                 " the",
                                 " é",
                                 "\xE4\xB8",
                                 "\x96",
                                 "\xF0\x9F",
                                 "\x98\x80",
                                 "\n",
                                 "\n\n",
                                 "<",
                                 "/th",
                                 "ink>",
                                 "END",
                                 "EN",
                                 "D",
                                 "wait",
                                 "so"})
            tokens_.emplace_back(name);
    }
    std::vector<chat::TokenId> encode(std::string_view text) const override {
        std::vector<chat::TokenId> ids;
        while (!text.empty()) {
            chat::TokenId id = static_cast<std::uint8_t>(text.front());
            for (chat::TokenId added = bos; added <= end_think; ++added)
                if (text.starts_with(tokens_[static_cast<std::size_t>(added)])) id = added;
            ids.push_back(id);
            text.remove_prefix(tokens_[static_cast<std::size_t>(id)].size());
        }
        return ids;
    }
    std::string_view bytes(chat::TokenId id) const override {
        return exists(id) ? std::string_view(tokens_[static_cast<std::size_t>(id)])
                          : std::string_view();
    }
    bool is_special(chat::TokenId id) const override { return id >= bos && id <= eos; }
    bool exists(chat::TokenId id) const override { return id >= 0 && id < size(); }
    std::optional<chat::TokenId> find(std::string_view token) const override {
        const auto place = std::ranges::find(tokens_, token);
        if (place == tokens_.end()) return std::nullopt;
        return static_cast<chat::TokenId>(place - tokens_.begin());
    }
    chat::TokenId size() const override { return static_cast<chat::TokenId>(tokens_.size()); }
    std::span<const chat::TokenId> beginning() const override { return {&bos, 1}; }

private:
    std::vector<std::string> tokens_;
};

struct FakeModelOptions {
    std::uint32_t blocks = 1024;
    std::uint32_t batch_tokens_max = 512;
    std::uint32_t context = 4096;
    std::uint32_t threads = 1;
    float habit = 0;  // added to the logit of a token's successor, which makes text repeat itself
};

// Keeps in every KV slot the hash of all tokens up to there, read from the slot before through the
// block table: a wrong block, a stale slot or a skipped position changes the logits.
class FakeModel final : public model::Model {
public:
    using Options = FakeModelOptions;
    explicit FakeModel(Options options = {}) : options_(options) {
        shape_.architecture = "fake";
        shape_.vocab = FakeTokenizer::vocab;
        shape_.context = options.context;
        shape_.eos = {FakeTokenizer::eos};
        slots_.resize(std::size_t{options.blocks} * model::block_tokens);
    }
    const model::Shape& shape() const override { return shape_; }
    const std::string& fingerprint() const override { return fingerprint_; }
    std::uint32_t blocks() const override { return options_.blocks; }
    std::uint32_t batch_tokens_max() const override { return options_.batch_tokens_max; }
    std::uint64_t progress() const override { return progress_; }
    std::uint32_t threads() const override { return options_.threads; }
    void run(std::uint32_t tasks, std::uint64_t,
             const std::function<void(std::uint32_t)>& body) override {
        std::vector<std::jthread> threads;
        for (std::uint32_t task = 1; task < tasks; ++task) threads.emplace_back(body, task);
        if (tasks > 0) body(0);
    }

    std::span<const float> forward(std::span<const model::Slice> slices) override {
        if (before_forward) before_forward(slices);
        logits_.clear();
        std::size_t tokens = 0;
        for (const model::Slice& slice : slices) {
            EXPECT_FALSE(slice.tokens.empty());
            EXPECT_LE(slice.logits, slice.tokens.size());
            EXPECT_LE(slice.position + slice.tokens.size(), options_.context);
            EXPECT_GE(slice.blocks.size() * model::block_tokens,
                      slice.position + slice.tokens.size());
            tokens += slice.tokens.size();
            compute(slice);
        }
        EXPECT_LE(tokens, options_.batch_tokens_max);
        computed_tokens += tokens;
        ++progress_;
        return logits_;
    }

    // The row for a prefix that ends with `last`, as forward would give it. Half a character is
    // usually followed by its other half.
    static void append_row(std::uint64_t prefix_hash, chat::TokenId last, float habit,
                           std::vector<float>& out) {
        const bool half = last == FakeTokenizer::half || last == FakeTokenizer::other_half;
        for (std::uint32_t id = 0; id < FakeTokenizer::vocab; ++id) {
            const std::uint64_t bits = mix(prefix_hash ^ mix(id + 1));
            const float noise = static_cast<float>(bits >> 40) * 0x1.0p-24F;  // [0, 1)
            const bool is_text = id >= FakeTokenizer::first_piece || (id >= 'a' && id <= 'z');
            out.push_back(noise * 4.0F + (is_text ? 3.0F : -2.0F) +
                          (id == FakeTokenizer::end_think ? 4.0F : 0.0F) +
                          (id == FakeTokenizer::eos ? 3.0F : 0.0F) +
                          (half && std::cmp_equal(id, last + 1) ? 6.0F : 0.0F) +
                          (std::cmp_equal(id, 'a' + (last + 1) % 7) ? habit : 0.0F));
        }
    }
    static std::uint64_t chain(std::uint64_t hash, chat::TokenId id) {
        return mix(hash * 31 + static_cast<std::uint64_t>(id) + 7);
    }

    std::size_t computed_tokens = 0;
    std::uint64_t poisoned_prefix = 0;  // the row of this prefix is NaN
    std::function<void(std::span<const model::Slice>)> before_forward;

private:
    static std::uint64_t mix(std::uint64_t x) {  // splitmix64's finalizer
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
    std::uint64_t& slot(const model::Slice& slice, std::size_t position) {
        return slots_[std::size_t{slice.blocks[position / model::block_tokens]} *
                          model::block_tokens +
                      position % model::block_tokens];
    }
    void compute(const model::Slice& slice) {
        for (std::size_t i = 0; i < slice.tokens.size(); ++i) {
            const std::size_t position = slice.position + i;
            const std::uint64_t before = position == 0 ? 0 : slot(slice, position - 1);
            const std::uint64_t hash = chain(before, slice.tokens[i]);
            slot(slice, position) = hash;
            if (i + slice.logits < slice.tokens.size()) continue;
            append_row(hash, slice.tokens[i], options_.habit, logits_);
            if (hash == poisoned_prefix)
                *(logits_.end() - FakeTokenizer::vocab) = std::numeric_limits<float>::quiet_NaN();
        }
    }

    Options options_;
    model::Shape shape_;
    std::string fingerprint_ = "fake";
    std::vector<std::uint64_t> slots_;
    std::vector<float> logits_;
    std::atomic<std::uint64_t> progress_ = 0;
};

}  // namespace holdfast::engine
