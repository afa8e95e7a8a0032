// HTTP/1.1 client with a keep-alive connection pool. One per event loop; loop thread only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/http/client_exchange.h"
#include "common/http/limits.h"
#include "common/http/message.h"
#include "common/http/url.h"
#include "common/loop/task.h"

namespace holdfast::http {

struct ClientRequest {
    std::string method = "GET";
    std::string path;
    Headers headers;  // Host, Content-Length and Connection are the client's business
    std::string body;
};

struct ClientDeadlines {
    base::Deadline connect;
    base::Deadline response_head;  // until the head has arrived
};

// Ends, from outside, whatever wait a request is in (connect, head or body) by closing its
// connection; the request fails with whatever error that makes. loop::Loop thread only.
class Abort {
public:
    void trigger() {
        triggered_ = true;
        if (close_) close_();
    }
    bool triggered() const { return triggered_; }
    // The client's business: how to close the connection in use.
    void arm(std::function<void()> close) { close_ = std::move(close); }

private:
    std::function<void()> close_;
    bool triggered_ = false;
};

class Client {
public:
    Client(loop::Loop& loop, const base::Clock& clock, ClientLimits limits = {});
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Sends the request and reads the response's head. A kept-alive connection that turns out to
    // be closed before any response byte is replaced by a fresh one once, silently.
    // `abort`, if given, must outlive the request and its ClientExchange.
    // Errors: unavailable (connect, reset, garbage; Origin::instance), deadline, cancelled.
    loop::Task<base::Result<std::unique_ptr<ClientExchange>>> send(Url url, ClientRequest request,
                                                                   ClientDeadlines deadlines,
                                                                   Abort* abort = nullptr);
    // Drops idle connections to that address (the instance is gone).
    void forget(const Url& url);

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace holdfast::http
