#pragma once

#include <vector>

#include "common/chat/request.h"
#include "common/json/reader.h"

namespace holdfast::dialect::openai {

// The field `messages`.
base::Result<std::vector<chat::Message>> read_messages(const json::Value& value);

}  // namespace holdfast::dialect::openai
