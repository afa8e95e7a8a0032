// Carries one answer from instances to the client: attempt after attempt, each going on where the
// journal says that the last one ended. Lives inside one Exchange; loop thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/chat/event.h"
#include "common/chat/request.h"
#include "common/dialect/dialect.h"
#include "common/http/server.h"
#include "common/upstream/sse.h"
#include "common/upstream/upstream.h"
#include "service/gateway/lane.h"

namespace holdfast::gateway {

// What is known at the end, for metrics and the access log.
struct RelayRecord {
    std::uint32_t attempts = 0;
    std::string first_instance, last_instance;
    Guarantee guarantee = Guarantee::restart;
    bool head_sent = false;
    std::optional<chat::Usage> usage;
    std::string finish;  // of choice 0
    base::Duration queued{}, first_token{}, first_answer_token{};
};

class Relay {
public:
    // `request` has a seed. `entry` is open in the lane's journal for as long as the relay lives.
    Relay(Lane& lane, const chat::Request& request, const dialect::Dialect& dialect,
          dialect::AnswerHead head, http::Responder& responder, std::string_view request_id,
          Journal::EntryId entry, base::Instant arrived, base::Deadline deadline,
          ModelMetrics& metrics);

    // Until the answer is complete at the client. After an error the caller still has to tell the
    // client: with a status of its own before `record().head_sent`, after it with `end_with`.
    loop::Task<base::Result<>> run();
    // Ends a started stream with one error event and no "[DONE]".
    loop::Task<base::Result<>> end_with(const base::Error& error);

    const RelayRecord& record() const { return record_; }

private:
    // How an attempt ended when it did not end the answer.
    struct Loss {
        base::Error error;
        fleet::Outcome outcome = fleet::Outcome::lost;
    };
    using AttemptEnd = std::expected<void, Loss>;

    struct Choice {
        upstream::Delivered delivered;  // external servers continue from this
        bool finished = false;
    };

    Need need() const;
    loop::Task<base::Result<Placed>> wait_for_seat(base::Deadline patience);
    loop::Task<AttemptEnd> attempt(const Placed& placed);
    loop::Task<std::expected<std::unique_ptr<http::Exchange>, Loss>> call(const Placed& placed,
                                                                          http::Abort& abort);
    loop::Task<AttemptEnd> read_events(http::Exchange& upstream, upstream::InstanceKind kind,
                                       const http::Abort& abort);
    // True at the proper end of the answer.
    std::expected<bool, Loss> take(std::string_view data, upstream::UpstreamReader& reader);
    base::Result<> deliver(chat::Event& event);
    void forget();
    void note_times(const chat::Event& event);
    void note_placed(const fleet::Instance& instance);
    void start_stream();
    loop::Task<base::Result<>> flush();
    loop::Task<base::Result<>> finish();
    loop::Task<base::Result<>> pace(const Loss& loss, std::uint32_t delivered_before);
    chat::Request continued_request(upstream::InstanceKind kind) const;
    http::ClientRequest upstream_request(const fleet::Instance& instance) const;
    chat::Usage total_usage(const chat::Usage& reported) const;
    bool all_finished() const;
    bool anything_delivered() const;
    Guarantee guarantee_at(const fleet::Instance& instance) const;
    base::Error interrupted(const base::Error& cause) const;

    Lane& lane_;
    const chat::Request& request_;
    const dialect::Dialect& dialect_;
    dialect::AnswerHead head_;
    std::unique_ptr<dialect::Encoder> encoder_;
    http::Responder& responder_;
    std::string request_id_;
    Journal::EntryId entry_;
    base::Instant arrived_, last_event_, last_write_;
    base::Deadline deadline_;
    std::vector<Choice> choices_;
    std::vector<std::string> busy_;
    std::string fingerprint_;            // of the first attempt: what a resume must match
    bool external_ = false;              // the running attempt is at an external server
    std::uint32_t external_events_ = 0;  // delivered by external servers: about one token each
    std::uint32_t external_before_ = 0;  // of these, by attempts before the running one
    std::uint32_t fruitless_ = 0;        // attempts in a row that delivered nothing
    std::string out_;                    // encoded, not yet written
    RelayRecord record_;
    ModelMetrics& metrics_;
};

}  // namespace holdfast::gateway
