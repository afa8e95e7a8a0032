// What errors mean in HTTP, whatever their form: the stable words of Error::tag and their statuses.
#pragma once

#include <string_view>

#include "common/base/error.h"

namespace holdfast::dialect {

// From tag, else from code: invalid 400 (payload too large 413, media type 415, ...), not_found
// 404, overloaded 429 or 503, deadline 504, unavailable 503, internal 500.
int status_of(const base::Error& error);
// The error's own tag, or the word for errors that bring none; "" for an invalid request, as at
// OpenAI.
std::string_view tag_of(const base::Error& error);
// What clients may read: what went wrong inside is for the log, they could neither use it nor
// should they see it.
std::string_view message_of(const base::Error& error);
base::Error error_of_status(int status, std::string_view reason);

}  // namespace holdfast::dialect
