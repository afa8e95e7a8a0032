#include "common/upstream/kind.h"
#include "common/upstream/tokenization.h"

namespace holdfast::upstream {

constinit const Kind holdfast_kind{
    .name = "holdfast",
    .summary = "a holdfast worker: answers go on exactly",
    .extended = true,
    .offer = {.continues_ids = true},
    .probe = {.path = "/readyz", .says = ProbePlan::Says::readiness},
    .words = {.seed_max = UINT64_MAX},
    .tokenize = tokenize_as_vllm,
    .detokenize = detokenize_as_vllm,
};

}  // namespace holdfast::upstream
