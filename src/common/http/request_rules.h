// What every request of every JSON API has in common, before its body is read.
#pragma once

#include <string>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/http/message.h"

namespace holdfast::http {

// The client's own x-request-id if it is 1 to 128 letters, digits, '-', '_', '.' or ':' (it goes
// into logs and headers), or a new one.
std::string request_id(const Headers& headers, base::Entropy& entropy);

// Bodies are JSON. A missing content type is accepted, another one is refused with tag
// unsupported_media_type; so is a content encoding.
base::Result<> check_json_body(const Headers& headers);

}  // namespace holdfast::http
