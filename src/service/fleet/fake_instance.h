// For this room's tests: an HTTP server on the test's own loop whose pages the test writes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/http/client.h"
#include "common/http/server.h"
#include "common/loop/sleep.h"

namespace holdfast::fleet {

class FakeInstance {
public:
    static constexpr int never = 0;  // the status of a page that is not answered

    FakeInstance(loop::Loop& loop, const base::Clock& clock)
        : listener_(http::listen_tcp("127.0.0.1:0").value()),
          url_(http::Url::parse("http://" + http::local_address(listener_.get())).value()),
          server_(std::make_unique<http::Server>(
              loop, clock, listener_.get(), http::ServerLimits{},
              [this](http::Request request, http::Responder& responder) {
                  return answer(std::move(request), responder);
              },
              [](int status, std::string_view) {
                  http::Response response;
                  response.status = status;
                  return response;
              })) {
        server_->start();
    }

    void page(const std::string& path, int status, std::string body = {}) {
        pages_[path] = {status, std::move(body)};
    }
    // A page whose body is `text` and a number that grows with every answer.
    void count_up(const std::string& path, std::string text) {
        page(path, 200, std::move(text));
        counting_ = path;
    }
    // The process dies: nobody listens any more.
    void die() {
        server_.reset();
        listener_.reset();
    }
    const http::Url& url() const { return url_; }
    const std::vector<std::string>& asked() const { return asked_; }
    std::size_t connections() const { return server_->connections(); }

private:
    loop::Task<void> answer(http::Request request, http::Responder& responder) {
        asked_.push_back(request.path);
        http::Response response;
        const auto page = pages_.find(request.path);
        response.status = page == pages_.end() ? 404 : page->second.first;
        if (response.status == never) {
            co_await loop::sleep_for(std::chrono::hours(1));  // ends when the client leaves
            co_return;
        }
        if (page != pages_.end()) response.body = page->second.second;
        if (request.path == counting_) response.body += std::to_string(++count_) + '\n';
        // A client that left in the meantime is none of the instance's business.
        (void)co_await responder.send(std::move(response));
    }

    base::UniqueFd listener_;
    http::Url url_;
    std::map<std::string, std::pair<int, std::string>> pages_;
    std::vector<std::string> asked_;
    std::string counting_;
    int count_ = 0;
    std::unique_ptr<http::Server> server_;
};

}  // namespace holdfast::fleet
