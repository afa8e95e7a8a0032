// /tokenize and /detokenize as instances know them.
#pragma once

#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/dialect/tokenization.h"
#include "common/upstream/kind.h"

namespace holdfast::upstream {

// What an instance of this kind is asked. not_implemented (tag, Origin::instance) where it has no
// such endpoint.
base::Result<Call> encode(const dialect::TokenizeRequest& request, const Kind& kind,
                          std::string_view model);
base::Result<Call> encode(const dialect::DetokenizeRequest& request, const Kind& kind,
                          std::string_view model);
// What it answers. Code::corrupt (Origin::instance) for anything else.
base::Result<dialect::TokenizeAnswer> read_tokenized(std::string_view body);
base::Result<std::string> read_detokenized(std::string_view body);

// For the kinds.
base::Result<Call> tokenize_as_vllm(const dialect::TokenizeRequest& request,
                                    std::string_view model);
base::Result<Call> detokenize_as_vllm(const dialect::DetokenizeRequest& request,
                                      std::string_view model);
base::Result<Call> detokenize_without_model(const dialect::DetokenizeRequest& request);
std::unexpected<base::Error> not_offered(const Kind& kind, std::string_view what);

}  // namespace holdfast::upstream
