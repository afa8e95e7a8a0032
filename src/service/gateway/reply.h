// One answer to the client: encodes events, sends head, pieces and end, and keeps the connection
// alive while there is nothing to say.
#pragma once

#include <memory>
#include <string>

#include "common/chat/event.h"
#include "common/chat/request.h"
#include "common/dialect/dialect.h"
#include "common/http/watchdog.h"
#include "service/gateway/context.h"

namespace holdfast::gateway {

// Lives from admission to the end of one exchange; loop thread only. How far the client has the
// answer is in the journal before and after every write.
class Reply final : private http::Watchdog::Entry {
public:
    Reply(Context& context, const chat::Request& request, const dialect::Dialect& dialect,
          dialect::AnswerHead head);
    ~Reply() override = default;

    // An instance has taken the request: the head of a stream need not wait much longer.
    void accepted();
    // Encodes; nothing is sent yet.
    void event(const chat::Event& event);
    // A stream: writes what is encoded, with the head if that has not gone. A client that is slow
    // to read pauses the caller here, and through the unread socket the instance.
    loop::Task<base::Result<>> flush();
    // The proper end.
    loop::Task<base::Result<>> finish();
    // The end of an answer that has begun and cannot go on.
    loop::Task<base::Result<>> end_with(const base::Error& error);
    // No pings from here on: the exchange ends otherwise.
    void quiet() { pulse_->clear(*this); }
    // A whole answer begins again; nothing of it has been sent.
    void restart();

    // Whoever replays an answer that the client has a part of: drops that many bytes of what is
    // encoded from here on (Journal::Sent::answer).
    void skip(std::uint64_t bytes) { to_skip_ = bytes; }

private:
    void expired() override;
    void start();
    void drop_skipped();
    loop::Task<base::Result<>> send_whole();
    loop::Task<base::Result<>> end_stream();

    Context& context_;
    const chat::Request& request_;
    const dialect::Dialect& dialect_;
    dialect::AnswerHead head_;
    std::shared_ptr<http::Watchdog> pulse_;
    const dialect::Framing& framing_;
    std::unique_ptr<dialect::Encoder> encoder_;
    std::string out_;  // encoded, not yet written
    Journal::Sent sent_;
    std::uint64_t to_skip_ = 0;
    base::Instant last_write_;
};

}  // namespace holdfast::gateway
