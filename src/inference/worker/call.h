// What a request's handling passes around.
#pragma once

#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/http/message.h"
#include "common/http/server.h"
#include "inference/worker/worker.h"

namespace holdfast::worker {

struct Worker::Call {
    http::Request request;
    http::Responder& responder;
    std::string request_id;
    base::Instant arrived;
    // What became of it, for the log and the metrics.
    std::string_view endpoint;  // a route's path, never the client's text
    int status = 0;
    std::string error_tag;
    std::string_view finish;
};

// x-holdfast-deadline-ms as a deadline; never without the header.
base::Result<base::Deadline> read_deadline(const http::Headers& headers, base::Instant now);
// x-holdfast-attempt; 0 without a valid one.
std::uint32_t read_attempt(const http::Headers& headers);
// x-holdfast-ping-ms: how often the caller wants to hear that there is progress. Never more seldom
// than `usual`, and not more often than every 10 ms.
base::Duration read_ping_every(const http::Headers& headers, base::Duration usual);
base::Result<> check_fingerprint(const http::Headers& headers, const std::string& own);

}  // namespace holdfast::worker
