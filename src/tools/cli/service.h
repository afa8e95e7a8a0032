// A running service as a command sees it: blocking calls over HTTP, with errors for people.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/http/client.h"
#include "tools/cli/terminal.h"

namespace holdfast::cli {

inline constexpr std::string_view default_url = "http://127.0.0.1:8080";

// One thread. Every error's text names the cause, the next step and, where there is one, the
// request id, a line each.
class Service {
public:
    // `api_key` may be empty.
    Service(http::Url url, std::string api_key, const base::Clock& clock);
    ~Service();

    // The body of an answer with status 200.
    base::Result<std::string> get(std::string path);

    // Posts `body` and gives the data of each server-sent event to `on_data` until the stream's
    // proper end. `on_data` ends the stream early by an error. An interrupt closes the connection,
    // which stops the generation, and gives Code::cancelled.
    base::Result<> stream(std::string path, std::string body, Interrupt& interrupt,
                          const std::function<base::Result<>(std::string_view data)>& on_data);

    const http::Url& url() const { return url_; }

private:
    class Calls;
    http::Url url_;
    std::unique_ptr<Calls> calls_;
};

// The message of an answer that is no success: {"error":{"message":...}}, {"error":"..."} or text.
std::string error_message(int status, std::string_view body);

}  // namespace holdfast::cli
