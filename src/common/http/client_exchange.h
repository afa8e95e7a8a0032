// One request to a server and its answer, as the client sees them. loop::Loop thread only.
#pragma once

#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/http/message.h"
#include "common/loop/task.h"

namespace holdfast::http {

// A response whose body is read piece by piece. Destroying it before the end closes the
// connection: that is how an instance learns that nobody wants the answer.
class ClientExchange {
public:
    virtual ~ClientExchange() = default;
    virtual int status() const = 0;
    virtual const Headers& headers() const = 0;
    // The next piece of the body, decoded from chunks; empty at the proper end. The view holds
    // until the next call. A connection that ends early gives Code::unavailable, never an end.
    virtual loop::Task<base::Result<std::string_view>> read_some(base::Deadline deadline) = 0;
    virtual loop::Task<base::Result<std::string>> read_all(base::Deadline deadline) = 0;
};

}  // namespace holdfast::http
