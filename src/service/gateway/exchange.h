// One client request, from its arrival to the last byte of its answer.
#pragma once

#include <optional>
#include <string>

#include "common/chat/request.h"
#include "common/dialect/dialect.h"
#include "common/http/message.h"
#include "common/http/server.h"
#include "service/gateway/lane.h"
#include "service/gateway/relay.h"

namespace holdfast::gateway {

// How long a request may take: `limit`, or less if the client asks for less. invalid where its
// header makes no sense.
base::Result<std::chrono::milliseconds> total_time(const http::Headers& headers,
                                                   std::chrono::milliseconds limit);

// Lives as long as its handler's call; loop thread only.
class Exchange {
public:
    Exchange(Lane& lane, const dialect::Dialect& dialect, http::Request request,
             http::Responder& responder);
    ~Exchange();
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    // The life of a request; ARCHITECTURE.md tells the same story.
    loop::Task<void> run();

private:
    void identify();
    base::Result<> parse();
    base::Result<> admit();
    void begin_relay();
    loop::Task<void> refuse(const base::Error& error);
    void settle(const base::Result<>& outcome);
    void log(const base::Result<>& outcome, const RelayRecord& record, base::Duration took) const;

    Lane& lane_;
    const dialect::Dialect& dialect_;
    http::Request http_;
    http::Responder& responder_;
    base::Instant arrived_;
    base::Deadline deadline_;
    std::string request_id_;
    chat::Request request_;
    std::optional<Journal::EntryId> entry_;
    std::optional<Relay> relay_;
    ModelMetrics* metrics_ = nullptr;
    int status_ = 200;
};

}  // namespace holdfast::gateway
