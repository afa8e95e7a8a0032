// What the parts of one exchange share, and what is known of it at the end.
#pragma once

#include <optional>
#include <string>

#include "common/chat/event.h"
#include "common/http/server.h"
#include "service/gateway/allowance.h"
#include "service/gateway/lane.h"

namespace holdfast::gateway {

// For metrics, the access log and the answer's head.
struct Record {
    std::uint32_t attempts = 0;
    std::string first_instance, last_instance;
    std::optional<Guarantee> guarantee;
    bool head_sent = false;
    std::optional<chat::Usage> usage;
    std::string_view finish;  // of the first choice; a name of chat::FinishReason
    base::Duration queued{}, first_token{}, first_answer_token{};
};

// Belongs to the Exchange; loop thread only.
struct Context {
    Lane& lane;
    http::Responder& responder;
    base::Instant arrived;
    std::string request_id;
    Allowance allowance;
    std::optional<Journal::EntryId> entry;  // from the moment that the request is admitted
    ModelMetrics* metrics = nullptr;        // the same, if something is generated
    Record record;

    base::Instant now() const { return lane.clock.now(); }
    base::Deadline in(base::Duration wait) const {
        return base::Deadline::after(lane.clock, wait).sooner(allowance.deadline);
    }
    bool too_late() const { return allowance.deadline.passed(now()); }
};

}  // namespace holdfast::gateway
