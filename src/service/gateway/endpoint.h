// What a path offers. Every request is one object of a kind of endpoint, which Exchange::run takes
// through the phases.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/dialect/dialect.h"
#include "common/http/message.h"
#include "common/loop/task.h"
#include "service/gateway/context.h"

namespace holdfast::gateway {

// One request; loop thread only. The context outlives it.
class Endpoint {
public:
    virtual ~Endpoint() = default;

    // For metrics and the access log; empty for what appears in neither.
    virtual std::string_view name() const = 0;
    // "POST", or "GET, HEAD".
    virtual std::string_view methods() const = 0;
    virtual base::Result<> parse(const http::Request& request) = 0;
    // From here on: the model asked for; empty where there is none.
    virtual std::string_view model() const { return {}; }
    // Something is generated, so the model's metrics count it.
    virtual bool generates() const { return false; }
    // What the journal keeps of it besides path, body, id and deadline. Nothing where the gateway
    // itself has the answer: that is given also when there is no room for another exchange.
    virtual std::optional<Journal::Opening> opening() const { return std::nullopt; }
    // Until the answer is complete at the client. After an error the client has still to be told:
    // with a status of its own before record.head_sent, after it with `end_with`.
    virtual loop::Task<base::Result<>> answer() = 0;
    virtual loop::Task<base::Result<>> end_with(const base::Error&) {
        co_return base::Result<>{};  // what is sent in one piece is never cut off
    }
    virtual dialect::ErrorAnswer render_error(const base::Error& error) const {
        return dialect::render_error(error);
    }
};

}  // namespace holdfast::gateway
