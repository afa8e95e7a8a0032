// /tokenize and /detokenize as each kind of instance knows them.
#pragma once

#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/dialect/tokenization.h"
#include "common/upstream/upstream.h"

namespace holdfast::upstream {

// What an instance of this kind is asked. not_implemented (tag, Origin::instance) where it has no
// such endpoint: InstanceKind::openai has none, llama-server none for conversations.
base::Result<UpstreamCall> encode_upstream(const dialect::TokenizeRequest& request,
                                           InstanceKind kind, std::string_view upstream_model);
base::Result<UpstreamCall> encode_upstream(const dialect::DetokenizeRequest& request,
                                           InstanceKind kind, std::string_view upstream_model);
// What it answers. Code::corrupt (Origin::instance) for anything else.
base::Result<dialect::TokenizeAnswer> read_tokenized(std::string_view body);
base::Result<std::string> read_detokenized(std::string_view body);

}  // namespace holdfast::upstream
