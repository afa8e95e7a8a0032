#include "common/http/client.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/basic_resolver.hpp>
#include <boost/asio/this_coro.hpp>

#include "common/http/characters.h"
#include "common/http/client_connection.h"
#include "common/http/response_reader.h"

namespace holdfast::http {
namespace {

using Endpoints = std::vector<asio::ip::tcp::endpoint>;

// From here on `abort` closes this connection.
void arm(Abort* abort, const std::shared_ptr<ClientConnection>& connection) {
    if (abort == nullptr) return;
    abort->arm([weak = std::weak_ptr(connection)] {
        if (const auto open = weak.lock()) open->close();
    });
}

std::unexpected<base::Error> of_instance(base::Error error) {
    if (error.code == base::Code::unavailable || error.code == base::Code::deadline) {
        error.origin = base::Origin::instance;
        error.retry = base::Retry::elsewhere;
    }
    return std::unexpected(std::move(error));
}

// One look-up, which may outlive those who wait for it: the system's resolver cannot be stopped.
struct LookUp : Watchdog::Entry {
    explicit LookUp(loop::Executor executor) : done(executor) {}
    void expired() override { done.notify_later(); }
    loop::Wakeup done;
    bool finished = false;
    Endpoints endpoints;
    std::string failure;
};

loop::Task<void> look_up(std::shared_ptr<LookUp> state, std::string host, std::uint16_t port) {
    asio::ip::basic_resolver<asio::ip::tcp, loop::Executor> resolver(
        co_await asio::this_coro::executor);
    const auto [error, found] = co_await resolver.async_resolve(
        host, std::to_string(port), asio::ip::resolver_base::numeric_service, loop::as_result);
    for (const auto& entry : found) state->endpoints.push_back(entry.endpoint());
    if (error) state->failure = error.message();
    state->finished = true;
    state->done.notify_later();
}

bool is_valid(const ClientRequest& request) {
    if (!is_token(request.method)) return false;
    if (!request.path.empty() && !is_target(request.path)) return false;
    for (const auto& [name, value] : request.headers) {
        if (!is_token(name) || !is_field_value(value)) return false;
    }
    return true;
}

bool is_owned_by_the_client(std::string_view name) {
    return equal_without_case(name, "host") || equal_without_case(name, "content-length") ||
           equal_without_case(name, "connection") || equal_without_case(name, "transfer-encoding");
}

std::string request_head(const Url& url, const ClientRequest& request) {
    std::string head;
    head.reserve(512);
    head.append(request.method).append(" ").append(url.path).append(request.path);
    if (url.path.empty() && request.path.empty()) head.push_back('/');
    const bool ipv6 = url.host.contains(':');
    head.append(" HTTP/1.1\r\nHost: ").append(ipv6 ? "[" : "").append(url.host);
    head.append(ipv6 ? "]:" : ":").append(fmt::format_int(url.port).c_str()).append("\r\n");
    for (const auto& [name, value] : request.headers) {
        if (is_owned_by_the_client(name)) continue;
        head.append(name).append(": ").append(value).append("\r\n");
    }
    if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD")) {
        head.append("Content-Length: ").append(fmt::format_int(request.body.size()).c_str());
        head.append("\r\n");
    }
    head.append("\r\n");
    return head;
}

}  // namespace

class Client::Impl : public std::enable_shared_from_this<Client::Impl> {
public:
    Impl(loop::Loop& loop, const base::Clock& clock, ClientLimits limits)
        : loop_(loop),
          watchdog_(std::make_shared<Watchdog>(loop, clock)),
          pool_(std::make_shared<ConnectionPool>(loop, clock, limits)) {}

    loop::Task<base::Result<std::unique_ptr<ClientExchange>>> send(Url url, ClientRequest request,
                                                                   ClientDeadlines deadlines,
                                                                   Abort* abort);
    void forget(const Url& url) { pool_->forget(address_of(url)); }
    void stop() {
        pool_->stop();
        watchdog_->stop();
    }

private:
    using Attempt = base::Result<std::unique_ptr<ClientExchange>>;

    static std::string address_of(const Url& url) {
        return url.host + '|' + fmt::format_int(url.port).c_str();
    }
    loop::Task<base::Result<std::shared_ptr<ClientConnection>>> connect(const Url& url,
                                                                        base::Deadline deadline,
                                                                        Abort* abort);
    loop::Task<base::Result<Endpoints>> resolve(const Url& url, base::Deadline deadline);
    loop::Task<base::Result<Endpoints>> resolve_name(const Url& url, base::Deadline deadline);
    // `stale` becomes true if the peer had closed the connection before it said anything.
    loop::Task<Attempt> attempt(const std::string& address, const std::string& head,
                                const ClientRequest& request,
                                std::shared_ptr<ClientConnection> connection,
                                base::Deadline deadline, bool& stale);

    loop::Loop& loop_;
    std::shared_ptr<Watchdog> watchdog_;
    std::shared_ptr<ConnectionPool> pool_;
    std::unordered_map<std::string, Endpoints> last_good_;
};

loop::Task<base::Result<Endpoints>> Client::Impl::resolve(const Url& url, base::Deadline deadline) {
    boost::system::error_code error;
    const auto literal = asio::ip::make_address(url.host, error);
    if (!error) co_return Endpoints{{literal, url.port}};
    // RFC 6761, section 6.3: no look-up for this name.
    if (url.host == "localhost") {
        co_return Endpoints{{asio::ip::address_v4::loopback(), url.port},
                            {asio::ip::address_v6::loopback(), url.port}};
    }
    co_return co_await resolve_name(url, deadline);
}

loop::Task<base::Result<Endpoints>> Client::Impl::resolve_name(const Url& url,
                                                               base::Deadline deadline) {
    auto state = std::make_shared<LookUp>(loop_.get_executor());
    asio::co_spawn(loop_, look_up(state, url.host, url.port), asio::detached);
    if (!state->finished) {
        watchdog_->watch(*state, deadline);
        const auto [error] = co_await state->done.wait();
        watchdog_->clear(*state);
        if (error) co_return base::fail(base::Code::cancelled, "the look-up was cancelled");
    }
    Endpoints& known = last_good_[url.host];
    if (!state->endpoints.empty()) known = std::move(state->endpoints);
    // When the name service fails, the addresses that worked last are better than none.
    if (!known.empty()) {
        Endpoints endpoints = known;
        for (auto& endpoint : endpoints) endpoint.port(url.port);
        co_return endpoints;
    }
    last_good_.erase(url.host);
    if (!state->finished) {
        co_return base::fail(base::Code::deadline, "looking up '{}' took too long", url.host);
    }
    co_return base::fail(base::Code::unavailable, "cannot look up '{}': {}", url.host,
                         state->failure);
}

loop::Task<base::Result<std::shared_ptr<ClientConnection>>> Client::Impl::connect(
    const Url& url, base::Deadline deadline, Abort* abort) {
    HF_CO_TRY_ASSIGN(const Endpoints endpoints, co_await resolve(url, deadline));
    base::Error last;
    for (const auto& endpoint : endpoints) {
        auto connection = pool_->make();
        arm(abort, connection);
        const auto connected = co_await connection->connect(endpoint, deadline);
        if (connected) co_return connection;
        connection->close();
        last = connected.error();
        if (last.code != base::Code::unavailable) break;
    }
    last.what = fmt::format("cannot connect to {}: {}", url.text(), last.what);
    co_return std::unexpected(std::move(last));
}

loop::Task<Client::Impl::Attempt> Client::Impl::attempt(
    const std::string& address, const std::string& head, const ClientRequest& request,
    std::shared_ptr<ClientConnection> connection, base::Deadline deadline, bool& stale) {
    auto exchange = std::make_unique<ResponseReader>(pool_, address, connection, request.method);
    iovec parts[] = {
        {.iov_base = const_cast<char*>(head.data()), .iov_len = head.size()},
        {.iov_base = const_cast<char*>(request.body.data()), .iov_len = request.body.size()}};
    std::span<iovec> rest = parts;
    base::Result<bool> sent = connection->try_write(rest);
    if (sent && !*sent) {
        connection->set_deadline(deadline);
        const auto written = co_await connection->write(rest);
        connection->clear_deadline();
        if (!written) sent = std::unexpected(written.error());
    }
    if (!sent && sent.error().code != base::Code::unavailable) {
        co_return std::unexpected(sent.error());
    }
    if (!sent) exchange->do_not_keep();
    // Even when sending failed there may be an answer: a refusal of a large body, for example.
    const auto answered = co_await exchange->read_head(deadline);
    if (answered) co_return exchange;
    stale = answered.error().code == base::Code::unavailable && !exchange->heard_anything();
    co_return std::unexpected(answered.error());
}

loop::Task<base::Result<std::unique_ptr<ClientExchange>>> Client::Impl::send(
    Url url, ClientRequest request, ClientDeadlines deadlines, Abort* abort) {
    if (!is_valid(request)) {
        co_return base::fail(base::Code::invalid, "the request holds characters HTTP forbids");
    }
    const auto alive = shared_from_this();
    const std::string address = address_of(url);
    const std::string head = request_head(url, request);
    bool stale = false;
    if (auto idle = pool_->take(address)) {
        arm(abort, idle);
        Attempt answer = co_await attempt(address, head, request, std::move(idle),
                                          deadlines.response_head, stale);
        if (answer) co_return answer;
        const bool aborted = abort != nullptr && abort->triggered();
        if (!stale || aborted) co_return of_instance(std::move(answer).error());
    }
    auto fresh = co_await connect(url, deadlines.connect.sooner(deadlines.response_head), abort);
    if (!fresh) co_return of_instance(std::move(fresh).error());
    Attempt answer =
        co_await attempt(address, head, request, *std::move(fresh), deadlines.response_head, stale);
    if (answer) co_return answer;
    co_return of_instance(std::move(answer).error());
}

Client::Client(loop::Loop& loop, const base::Clock& clock, ClientLimits limits)
    : impl_(std::make_shared<Impl>(loop, clock, limits)) {}
Client::~Client() { impl_->stop(); }

loop::Task<base::Result<std::unique_ptr<ClientExchange>>> Client::send(Url url,
                                                                       ClientRequest request,
                                                                       ClientDeadlines deadlines,
                                                                       Abort* abort) {
    return impl_->send(std::move(url), std::move(request), deadlines, abort);
}

void Client::forget(const Url& url) { impl_->forget(url); }

}  // namespace holdfast::http
