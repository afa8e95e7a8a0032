// What quantization costs: a model beside others, over the same passages and problems.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "inference/model/model.h"
#include "tools/eval/corpus.h"
#include "tools/eval/forward.h"
#include "tools/eval/recorded.h"
#include "tools/eval/score.h"

namespace holdfast::eval {

// A model to be judged. `load` gives it room for that many positions in its KV cache.
struct Entrant {
    std::string name;  // "bf16", "q4_k, KV q8"
    std::function<base::Result<std::unique_ptr<model::Model>>(std::uint32_t kv_tokens)> load;
};

struct Accuracy {
    std::uint32_t right = 0, all = 0;
    double share() const { return all == 0 ? 0 : static_cast<double>(right) / all; }
};

struct Scores {
    std::string name, fingerprint;
    std::string error;  // why it could not be loaded; nothing else counts then
    Likelihood likelihood;
    std::optional<Agreement> agreement;  // with the reference
    std::optional<Accuracy> accuracy;
};

struct Task {
    std::vector<Passage> passages;     // may be empty
    std::vector<Problem> problems;     // may be empty
    std::uint32_t tokens_max = 1'024;  // of a completion
    std::uint32_t slots = 16;          // problems at a time
    std::uint32_t record_top = 20;
    std::string record_path;         // where to record the reference, if anywhere
    std::optional<Record> recorded;  // stands for the reference
};

struct Result {
    std::vector<Scores> scores;  // the reference first, unless it is a record: then it is last
    bool stopped = false;
};

// Where the work is.
struct Moment {
    std::string what;
    double share = 0;
};

// The first entrant is the reference, unless task.recorded is one. All entrants are in memory at
// the same time and see the passages side by side; then each solves the problems. An entrant that
// cannot be loaded has an error among its scores; the reference must load. Errors: invalid, when
// nothing is to be done, a passage exceeds the context, or the record is of other passages; those
// of loading the reference and of writing the record.
[[nodiscard]] base::Result<Result> evaluate(const std::vector<Entrant>& entrants,
                                            const text::Tokenizer& tokenizer,
                                            const text::ChatTemplate& chat, const Task& task,
                                            const std::function<bool(const Moment&)>& observer);

}  // namespace holdfast::eval
