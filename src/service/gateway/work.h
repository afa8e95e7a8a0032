// What a relay carries from instances to a client, whatever it is: an answer made of events, or one
// JSON object.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/http/message.h"
#include "common/loop/task.h"
#include "common/upstream/error.h"
#include "common/upstream/kind.h"
#include "service/fleet/fleet.h"
#include "service/gateway/fleet_view.h"

namespace holdfast::gateway {

// The instance is not there any more; another one may be.
inline base::Error lost(std::string what) {
    return {base::Code::unavailable,
            std::move(what),
            base::Origin::instance,
            base::Retry::elsewhere,
            "",
            "instance_lost"};
}

// Loop thread only. The relay calls `need` and `call` for every attempt, its attempt the others in
// the order in which they stand here.
class Work {
public:
    // Where it may be done; the relay adds what it knows of earlier attempts.
    virtual Need need() const = 0;
    // What this instance is asked. An error with tag not_implemented: it offers no such thing.
    virtual base::Result<upstream::Call> call(const fleet::Instance& instance) = 0;
    // True if that is a question, to be answered in one piece, before the work's own call: `learn`
    // takes the answer and gives that call.
    virtual bool asks_first() const { return false; }
    virtual base::Result<upstream::Call> learn(const fleet::Instance& instance,
                                               std::string_view body) {
        (void)instance, (void)body;
        return base::fail(base::Code::internal, "nothing was asked");
    }
    virtual void add_headers(http::Headers& headers) const = 0;
    // More than that no sound answer takes.
    virtual std::uint64_t bytes_max(const fleet::Instance& instance) const = 0;

    // The instance refuses.
    virtual base::Error refusal(const fleet::Instance& instance, int status,
                                std::string_view body) const {
        (void)instance;
        return upstream::read_error(status, body);
    }
    // It answers: with these headers, ...
    virtual base::Result<> begin(const fleet::Instance& instance, const http::Headers& headers) = 0;
    // ... piece by piece. True at the proper end of the answer.
    virtual base::Result<bool> take(std::string_view piece) = 0;
    // The body ended without that: the answer is complete all the same, or the instance is lost.
    virtual base::Result<> ended() = 0;
    // Gives the client what there is so far. A client that is slow to read pauses the attempt here.
    virtual bool streams() const = 0;
    virtual loop::Task<base::Result<>> pass_on() = 0;
    virtual loop::Task<base::Result<>> finish() = 0;

    // Something has been delivered that the next attempt has to go on from.
    virtual bool begun() const = 0;
    // Grows with everything that the client gets. It shrinks when that turns out to be nothing.
    virtual std::uint64_t gained() const = 0;
    // After a loss: forgets what cannot be continued. False if the client has some of it already.
    virtual bool prepare_to_go_on() = 0;

protected:
    ~Work() = default;
};

}  // namespace holdfast::gateway
