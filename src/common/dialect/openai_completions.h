#pragma once

#include <memory>
#include <string_view>

#include "common/dialect/dialect.h"

namespace holdfast::dialect::openai {

base::Result<chat::Request> parse_completion(std::string_view body);
std::unique_ptr<Encoder> make_completion_stream_encoder(const chat::Request& request,
                                                        const AnswerHead& head);
std::unique_ptr<Encoder> make_completion_whole_encoder(const chat::Request& request,
                                                       const AnswerHead& head);

}  // namespace holdfast::dialect::openai
