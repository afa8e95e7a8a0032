#include "tools/eval/forward.h"

#include <algorithm>
#include <limits>

namespace holdfast::eval {
namespace {

std::vector<model::BlockId> consecutive_blocks(std::uint32_t first, std::uint32_t count) {
    std::vector<model::BlockId> blocks(count);
    for (std::uint32_t i = 0; i < count; ++i) blocks[i] = first + i;
    return blocks;
}

std::uint32_t blocks_for(std::size_t tokens) {
    return static_cast<std::uint32_t>((tokens + model::block_tokens - 1) / model::block_tokens);
}

std::uint32_t step_tokens(std::span<model::Model* const> models) {
    std::uint32_t tokens = std::numeric_limits<std::uint32_t>::max();
    for (const model::Model* const model : models)
        tokens = std::min(tokens, model->batch_tokens_max());
    return tokens;
}

// Greedy decoding with a fixed number of slots: a slot that becomes free takes the next prompt.
class Completer {
public:
    Completer(model::Model& model, const text::Tokenizer& tokenizer,
              std::span<const std::vector<chat::TokenId>> prompts, std::uint32_t tokens_max,
              std::uint32_t slots)
        : model_(model), tokens_max_(tokens_max), prompts_(prompts), outputs_(prompts.size()) {
        for (std::uint32_t id = 0; id < model.shape().vocab; ++id)
            exists_.push_back(tokenizer.exists(static_cast<chat::TokenId>(id)));
        std::size_t longest = 0;
        for (const auto& prompt : prompts) longest = std::max(longest, prompt.size());
        const std::uint32_t each = blocks_for(longest + tokens_max);
        for (std::uint32_t i = 0; i < slots; ++i)
            slots_.push_back({.blocks = consecutive_blocks(i * each, each)});
    }

    bool run(const Observer& observer) {
        while (done_ < prompts_.size()) {
            if (!observer(static_cast<double>(done_) / static_cast<double>(prompts_.size())))
                return false;
            for (Slot& slot : slots_)
                if (!slot.busy && next_ < prompts_.size()) begin(slot);
            step();
        }
        return true;
    }

    std::vector<std::vector<chat::TokenId>> take() { return std::move(outputs_); }

private:
    struct Slot {
        std::vector<model::BlockId> blocks;
        bool busy = false;
        std::size_t index = 0;       // of the prompt
        std::uint32_t position = 0;  // of `last`
        chat::TokenId last = 0;
    };

    chat::TokenId pick(std::span<const float> logits) const {
        std::size_t best = logits.size();
        for (std::size_t i = 0; i < logits.size(); ++i)
            if (exists_[i] && (best == logits.size() || logits[i] > logits[best])) best = i;
        return static_cast<chat::TokenId>(best);
    }

    // Takes the model's next token into the slot's output, which may end there.
    void accept(Slot& slot, chat::TokenId token) {
        const auto& eos = model_.shape().eos;
        auto& output = outputs_[slot.index];
        const bool ended = std::ranges::find(eos, token) != eos.end();
        if (!ended) output.push_back(token);
        slot.last = token;
        slot.position = static_cast<std::uint32_t>(prompts_[slot.index].size() + output.size() - 1);
        slot.busy =
            !ended && output.size() < tokens_max_ && slot.position + 1 < model_.shape().context;
        done_ += slot.busy ? 0 : 1;
    }

    void begin(Slot& slot) {
        slot.index = next_++;
        const std::span<const chat::TokenId> prompt = prompts_[slot.index];
        std::span<const float> logits;
        for (std::size_t at = 0; at < prompt.size();) {
            const auto count = std::min<std::size_t>(prompt.size() - at, model_.batch_tokens_max());
            const model::Slice slice{prompt.subspan(at, count), static_cast<std::uint32_t>(at),
                                     slot.blocks, at + count == prompt.size() ? 1U : 0U};
            logits = model_.forward({&slice, 1});
            at += count;
        }
        accept(slot, pick(logits));
    }

    void step() {
        slices_.clear();
        for (const Slot& slot : slots_)
            if (slot.busy) slices_.push_back({{&slot.last, 1}, slot.position, slot.blocks, 1});
        if (slices_.empty()) return;
        const std::span<const float> logits = model_.forward(slices_);
        const std::size_t vocab = model_.shape().vocab;
        std::size_t row = 0;
        for (Slot& slot : slots_)
            if (slot.busy) accept(slot, pick(logits.subspan(vocab * row++, vocab)));
    }

    model::Model& model_;
    std::uint32_t tokens_max_;
    std::span<const std::vector<chat::TokenId>> prompts_;
    std::vector<std::vector<chat::TokenId>> outputs_;
    std::vector<bool> exists_;
    std::vector<Slot> slots_;
    std::vector<model::Slice> slices_;
    std::size_t next_ = 0, done_ = 0;
};

}  // namespace

bool for_each_position(std::span<model::Model* const> models, std::span<const Passage> passages,
                       const Observer& observer, const std::function<void(const Position&)>& body) {
    std::size_t all = 0, done = 0, longest = 0;
    for (const Passage& passage : passages) {
        all += passage.tokens.size();
        longest = std::max(longest, passage.tokens.size());
    }
    const auto blocks = consecutive_blocks(0, blocks_for(longest));
    const std::uint32_t step = step_tokens(models);
    std::vector<std::span<const float>> outputs(models.size()), rows(models.size());
    for (std::uint32_t index = 0; index < passages.size(); ++index) {
        const Passage& passage = passages[index];
        // The last token predicts nothing that is known.
        const std::span tokens = std::span(passage.tokens).first(passage.tokens.size() - 1);
        for (std::uint32_t at = 0; at < tokens.size();) {
            if (!observer(static_cast<double>(done) / static_cast<double>(all))) return false;
            const auto end =
                static_cast<std::uint32_t>(std::min<std::size_t>(at + step, tokens.size()));
            const std::uint32_t first = std::clamp(passage.scored_from - 1, at, end);
            const model::Slice slice{tokens.subspan(at, end - at), at, blocks, end - first};
            for (std::size_t i = 0; i < models.size(); ++i)
                outputs[i] = models[i]->forward({&slice, 1});
            for (std::uint32_t row = first; row < end; ++row) {
                for (std::size_t i = 0; i < models.size(); ++i) {
                    const std::size_t vocab = models[i]->shape().vocab;
                    rows[i] = outputs[i].subspan((row - first) * vocab, vocab);
                }
                body({index, row + 1, passage.tokens[row + 1], rows});
            }
            done += end - at;
            at = end;
        }
    }
    return true;
}

std::optional<std::vector<std::vector<chat::TokenId>>> complete(
    model::Model& model, const text::Tokenizer& tokenizer,
    std::span<const std::vector<chat::TokenId>> prompts, std::uint32_t tokens_max,
    std::uint32_t slots, const Observer& observer) {
    Completer completer(model, tokenizer, prompts, tokens_max, slots);
    if (!completer.run(observer)) return std::nullopt;
    return completer.take();
}

}  // namespace holdfast::eval
