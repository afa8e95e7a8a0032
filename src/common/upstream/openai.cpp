#include "common/upstream/kind.h"

namespace holdfast::upstream {

constinit const Kind openai_kind{
    .name = "openai",
    .summary = "anything else that speaks OpenAI's API",
    .offer = {.continues_text = true},
    .probe = {.path = "/v1/models", .says = ProbePlan::Says::models, .metered = true},
};

}  // namespace holdfast::upstream
