#include "common/upstream/kind.h"
#include "common/upstream/raw_forms.h"
#include "common/upstream/tokenization.h"

namespace holdfast::upstream {

constinit const Kind vllm_kind{
    .name = "vllm",
    .summary = "vLLM's server, and others that take its fields (SGLang)",
    .offer = {.continues_text = true},
    .probe = {.path = "/health"},
    .raw = &raw_vllm,
    .tokenize = tokenize_as_vllm,
    .detokenize = detokenize_as_vllm,
};

}  // namespace holdfast::upstream
