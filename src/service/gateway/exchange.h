// One client request, from its arrival to the last byte of its answer.
#pragma once

#include <memory>
#include <string>

#include "common/http/message.h"
#include "common/http/server.h"
#include "service/gateway/context.h"
#include "service/gateway/endpoint.h"
#include "service/gateway/lane.h"
#include "service/gateway/routes.h"

namespace holdfast::gateway {

// Lives as long as its handler's call; loop thread only.
class Exchange {
public:
    Exchange(Lane& lane, const Front& front, http::Request request, http::Responder& responder);
    ~Exchange();
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    // The life of a request, whatever it asks for; ARCHITECTURE.md tells the same story.
    loop::Task<void> run();

private:
    void identify();
    base::Result<> parse();
    base::Result<> admit();
    loop::Task<void> refuse(const base::Error& error);
    void settle(const base::Result<>& outcome);
    void measure(base::Duration took) const;
    void log(const base::Result<>& outcome, base::Duration took) const;
    std::string_view known_model() const;

    Context context_;
    http::Request http_;
    std::unique_ptr<Endpoint> endpoint_;  // none at a path where there is nothing
    int status_ = 200;
};

}  // namespace holdfast::gateway
