#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "common/dialect/dialect.h"
#include "common/json/reader.h"

namespace holdfast::dialect::openai {

// The field `messages`.
base::Result<std::vector<chat::Message>> read_messages(const json::Value& value);

base::Result<chat::Request> parse_chat(std::string_view body);
std::unique_ptr<Encoder> make_chat_stream_encoder(const chat::Request& request,
                                                  const AnswerHead& head);
std::unique_ptr<Encoder> make_chat_whole_encoder(const chat::Request& request,
                                                 const AnswerHead& head);

}  // namespace holdfast::dialect::openai
