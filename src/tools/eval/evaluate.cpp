#include "tools/eval/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace holdfast::eval {
namespace {

using base::Code;

class Evaluation {
public:
    Evaluation(const text::Tokenizer& tokenizer, const text::ChatTemplate& chat, const Task& task,
               const std::function<bool(const Moment&)>& observer)
        : tokenizer_(tokenizer), task_(task), observer_(observer) {
        for (const Problem& problem : task.problems)
            prompts_.push_back(prompt_of(problem, tokenizer, chat));
    }

    base::Result<> load(const std::vector<Entrant>& entrants) {
        for (const Entrant& entrant : entrants) {
            Scores& scores = result_.scores.emplace_back();
            scores.name = entrant.name;
            auto model = entrant.load(kv_tokens());
            if (!model && !task_.recorded && &entrant == &entrants.front())
                return std::unexpected(std::move(model).error());
            if (!model) {
                scores.error = std::move(model).error().what;
                continue;
            }
            scores.fingerprint = (*model)->fingerprint();
            models_.push_back(*std::move(model));
            loaded_.push_back(result_.scores.size() - 1);
        }
        return check_sizes();
    }

    base::Result<> read_passages() {
        if (task_.passages.empty() || models_.empty()) return {};
        std::optional<RecordWriter> writer;
        if (!task_.record_path.empty()) {
            const RecordHeader header{result_.scores[0].name, models_[0]->fingerprint(),
                                      hash_of(task_.passages), task_.record_top,
                                      positions_of(task_.passages)};
            HF_TRY_ASSIGN(auto created, RecordWriter::create(task_.record_path, header));
            writer.emplace(std::move(created));
        }
        std::vector<model::Model*> models;
        for (const auto& model : models_) models.push_back(model.get());
        const LogProbabilities log_probabilities(tokenizer_, models_[0]->shape().vocab);
        std::vector<std::vector<float>> rows(models.size());
        std::size_t at = 0;
        const bool finished = for_each_position(
            models, task_.passages, watch("reading"), [&](const Position& position) {
                for (std::size_t i = 0; i < rows.size(); ++i)
                    log_probabilities.compute(position.logits[i], rows[i]);
                if (writer) writer->add(likeliest(rows[0], position.right, task_.record_top));
                score(position, rows, at++);
            });
        result_.stopped = !finished;
        if (task_.recorded) add_recorded(at);
        if (writer && finished) return writer->finish();
        return {};
    }

    void solve_problems() {
        if (prompts_.empty()) return;
        for (std::size_t i = 0; i < models_.size() && !result_.stopped; ++i) {
            Scores& scores = result_.scores[loaded_[i]];
            const auto outputs =
                complete(*models_[i], tokenizer_, prompts_, task_.tokens_max, task_.slots,
                         watch(fmt::format("solving with {}", scores.name)));
            result_.stopped = !outputs;
            if (!outputs) break;
            scores.accuracy.emplace();
            for (std::size_t j = 0; j < outputs->size(); ++j) {
                ++scores.accuracy->all;
                scores.accuracy->right +=
                    is_right(task_.problems[j], text_of((*outputs)[j])) ? 1 : 0;
            }
        }
    }

    Result take() { return std::move(result_); }

private:
    std::uint32_t kv_tokens() const {
        std::size_t tokens = model::block_tokens;
        for (const Passage& passage : task_.passages)
            tokens = std::max(tokens, passage.tokens.size());
        for (const auto& prompt : prompts_)
            tokens = std::max(
                tokens, task_.slots * (prompt.size() + task_.tokens_max + model::block_tokens));
        return static_cast<std::uint32_t>(tokens + model::block_tokens);
    }

    base::Result<> check_sizes() const {
        std::size_t longest = 0;
        for (const Passage& passage : task_.passages)
            longest = std::max(longest, passage.tokens.size());
        for (const auto& prompt : prompts_) longest = std::max(longest, prompt.size() + 1);
        for (const auto& model : models_) {
            if (longest > model->shape().context)
                return base::fail(Code::invalid,
                                  "{} tokens in a row are more than the model's context of {}",
                                  longest, model->shape().context);
            if (model->shape().vocab != models_[0]->shape().vocab)
                return base::fail(Code::invalid,
                                  "the models have {} and {} rows of logits: not the same tokens",
                                  models_[0]->shape().vocab, model->shape().vocab);
        }
        return {};
    }

    Observer watch(std::string what) const {
        return [this, what = std::move(what)](double share) { return observer_({what, share}); };
    }

    void score(const Position& position, const std::vector<std::vector<float>>& rows,
               std::size_t at) {
        const auto right = static_cast<std::size_t>(position.right);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            Scores& scores = result_.scores[loaded_[i]];
            scores.likelihood.add(rows[i][right]);
            const bool is_reference = !task_.recorded && i == 0;
            if (is_reference) continue;
            const Likeliest* const recorded =
                task_.recorded ? &task_.recorded->positions[at] : nullptr;
            const double away =
                recorded ? divergence(*recorded, rows[i]) : divergence(rows[0], rows[i]);
            const chat::TokenId wanted = recorded ? recorded->top[0].first : top_id(rows[0]);
            if (!scores.agreement) scores.agreement.emplace();
            scores.agreement->add(away, top_id(rows[i]) == wanted, position.passage,
                                  position.position);
        }
    }

    // The reference's own figures, over the positions that were reached.
    void add_recorded(std::size_t positions) {
        Scores& scores = result_.scores.emplace_back();
        scores.name = task_.recorded->header.name + " (recorded)";
        scores.fingerprint = task_.recorded->header.fingerprint;
        for (std::size_t i = 0; i < positions; ++i)
            scores.likelihood.add(task_.recorded->positions[i].right_log_probability);
    }

    std::string text_of(const std::vector<chat::TokenId>& ids) const {
        text::Detokenizer detokenizer(tokenizer_);
        std::string text;
        for (const chat::TokenId id : ids) text += detokenizer.feed(id);
        return text + detokenizer.flush();
    }

    const text::Tokenizer& tokenizer_;
    const Task& task_;
    const std::function<bool(const Moment&)>& observer_;
    std::vector<std::vector<chat::TokenId>> prompts_;
    std::vector<std::unique_ptr<model::Model>> models_;
    std::vector<std::size_t> loaded_;  // where each model's scores are
    Result result_;
};

base::Result<> check(const std::vector<Entrant>& entrants, const Task& task) {
    if (entrants.empty() || (task.passages.empty() && task.problems.empty()))
        return base::fail(Code::invalid, "there is nothing to evaluate");
    if (task.tokens_max == 0 || task.slots == 0)
        return base::fail(Code::invalid, "tokens and problems at a time must be 1 or more");
    if (!task.recorded) return {};
    const std::string text = hash_of(task.passages);
    if (task.recorded->header.text != text ||
        task.recorded->positions.size() != positions_of(task.passages))
        return base::fail(Code::invalid,
                          "the record is of another text, or of the same cut or tokenized in "
                          "another way");
    return {};
}

}  // namespace

base::Result<Result> evaluate(const std::vector<Entrant>& entrants,
                              const text::Tokenizer& tokenizer, const text::ChatTemplate& chat,
                              const Task& task,
                              const std::function<bool(const Moment&)>& observer) {
    HF_TRY(check(entrants, task));
    Evaluation evaluation(tokenizer, chat, task, observer);
    HF_TRY(evaluation.load(entrants));
    HF_TRY(evaluation.read_passages());
    evaluation.solve_problems();
    return evaluation.take();
}

}  // namespace holdfast::eval
