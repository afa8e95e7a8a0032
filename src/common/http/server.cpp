#include "common/http/server.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <vector>

#include "common/http/address.h"
#include "common/http/connection.h"

namespace holdfast::http {
namespace {

// Connections taken in one go, so that a flood of them cannot starve the open ones.
constexpr int accepts_at_once = 64;
// How long accepting rests when the process or the system has no file descriptors left.
constexpr std::chrono::milliseconds exhausted_pause{100};

base::UniqueFd open_reserve() { return base::UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

class Server::Impl : public std::enable_shared_from_this<Server::Impl>, Watchdog::Entry {
public:
    Impl(loop::Loop& loop, const base::Clock& clock, int listener, ServerLimits limits,
         Handler handler, ErrorBody error_body)
        : loop_(loop),
          shared_(std::make_shared<ServerShared>(loop, clock, limits, std::move(handler),
                                                 std::move(error_body))),
          acceptor_(loop.get_executor()),
          listener_(::fcntl(listener, F_DUPFD_CLOEXEC, 0)),
          reserve_(open_reserve()) {}

    void start() {
        boost::system::error_code error;
        const int flags = ::fcntl(listener_.get(), F_GETFL);
        ::fcntl(listener_.get(), F_SETFL, flags | O_NONBLOCK);
        acceptor_.assign(asio::ip::tcp::v4(), listener_.get(), error);
        if (error) {
            spdlog::error("the listening socket cannot be watched: {}", error.message());
            return;
        }
        listener_.release();
        shared_->on_closed = [this] {
            load_.fetch_sub(1, std::memory_order_relaxed);
            watch_listener();
        };
        watch_listener();
    }

    void share_with(std::vector<std::weak_ptr<Impl>> all) { sharing_ = std::move(all); }

    void drain() {
        shared_->draining = true;
        close_listener();
        for (Connection* at = shared_->first; at != nullptr;) {
            Connection* next = at->next();
            at->drain();
            at = next;
        }
    }

    void stop() {
        stopped_ = true;
        shared_->on_closed = nullptr;
        shared_->draining = true;
        close_listener();
        for (Connection* at = shared_->first; at != nullptr;) {
            Connection* next = at->next();
            at->stop();
            at = next;
        }
        shared_->watchdog->stop();
    }

    std::size_t connections() const { return shared_->open; }
    // Open connections and those on their way here. Any thread.
    std::size_t load() const { return load_.load(std::memory_order_relaxed); }

private:
    void close_listener() {
        // The descriptor shares its open file with others, so closing it would leave it in the
        // loop's epoll set: it has to be taken out first.
        boost::system::error_code ignored;
        if (acceptor_.is_open()) listener_.reset(acceptor_.release(ignored));
        listener_.reset();
        reserve_.reset();
        shared_->watchdog->clear(*this);
    }

    bool may_accept() const {
        return acceptor_.is_open() && !resting_ && shared_->open < shared_->limits.connections_max;
    }

    void watch_listener() {
        if (waiting_ || !may_accept()) return;
        waiting_ = true;
        acceptor_.async_wait(Acceptor::wait_read,
                             [self = shared_from_this()](boost::system::error_code error) {
                                 self->waiting_ = false;
                                 if (!error) self->accept_some();
                                 self->watch_listener();
                             });
    }

    void accept_some() {
        for (int i = 0; i < accepts_at_once && may_accept(); ++i) {
            sockaddr_storage address{};
            socklen_t size = sizeof(address);
            base::UniqueFd fd(::accept4(acceptor_.native_handle(),
                                        reinterpret_cast<sockaddr*>(&address), &size,
                                        SOCK_NONBLOCK | SOCK_CLOEXEC));
            if (fd) {
                place(std::move(fd), address);
            } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                rest();
            } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
                return;
            }
            // Anything else concerns the one connection that has already gone again.
        }
    }

    // Connections live long and a burst of them arrives at whichever loop wakes first: without
    // sharing, one loop would serve them all while the others sleep.
    void place(base::UniqueFd fd, const sockaddr_storage& address) {
        std::shared_ptr<Impl> target = shared_from_this();
        for (const auto& other : sharing_) {
            auto server = other.lock();
            if (server && server->load() < target->load()) target = std::move(server);
        }
        target->load_.fetch_add(1, std::memory_order_relaxed);
        if (target.get() == this) return serve(std::move(fd), address);
        loop::Loop& loop = target->loop_;
        asio::post(loop, [target = std::move(target), fd = std::move(fd), address]() mutable {
            target->serve(std::move(fd), address);
        });
    }

    void serve(base::UniqueFd fd, const sockaddr_storage& address) {
        auto connection = std::make_shared<Connection>(loop_, shared_);
        if (stopped_ || !connection->open(std::move(fd), address_text(address, false))) {
            load_.fetch_sub(1, std::memory_order_relaxed);
            return;
        }
        if (shared_->draining) connection->drain();
        const auto slot = connection->cancellation();
        asio::co_spawn(loop_, Connection::run(std::move(connection)),
                       asio::bind_cancellation_slot(slot, [](std::exception_ptr error) {
                           if (error) spdlog::critical("a connection ended with an exception");
                       }));
    }

    // No descriptors are left. The reserve one is given up for a moment to tell the waiting
    // clients, then accepting rests: the level-triggered listener would make the loop spin.
    void rest() {
        spdlog::warn("no file descriptors left, new connections have to wait");
        reserve_.reset();
        base::UniqueFd fd(
            ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (fd) refuse(fd.get());
        fd.reset();
        reserve_ = open_reserve();
        resting_ = true;
        shared_->watchdog->watch(*this, base::Deadline(shared_->clock.now() + exhausted_pause));
    }

    void refuse(int fd) {
        Response response = shared_->error_body(503, "too many connections");
        std::string text;
        append_response_head(text, 503, response.headers,
                             shared_->date_line.text(shared_->clock.unix_seconds()),
                             ConnectionLine::close);
        text += fmt::format("Content-Length: {}\r\n\r\n", response.body.size());
        text += response.body;
        // A new connection's buffer takes a short answer whole; if not, nothing is lost.
        [[maybe_unused]] const auto sent =
            ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        ::shutdown(fd, SHUT_WR);
    }

    void expired() override {
        resting_ = false;
        watch_listener();
    }

    using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, loop::Executor>;

    loop::Loop& loop_;
    std::shared_ptr<ServerShared> shared_;
    Acceptor acceptor_;
    base::UniqueFd listener_;
    base::UniqueFd reserve_;
    std::vector<std::weak_ptr<Impl>> sharing_;
    std::atomic<std::size_t> load_{0};
    bool waiting_ = false;
    bool resting_ = false;
    bool stopped_ = false;
};

Server::Server(loop::Loop& loop, const base::Clock& clock, int listener, ServerLimits limits,
               Handler handler, ErrorBody error_body)
    : impl_(std::make_shared<Impl>(loop, clock, listener, limits, std::move(handler),
                                   std::move(error_body))) {}

Server::~Server() { impl_->stop(); }

void Server::share(std::span<Server* const> servers) {
    std::vector<std::weak_ptr<Impl>> all;
    for (const Server* server : servers) all.emplace_back(server->impl_);
    for (const Server* server : servers) server->impl_->share_with(all);
}

void Server::start() { impl_->start(); }
void Server::drain() { impl_->drain(); }
std::size_t Server::connections() const { return impl_->connections(); }

}  // namespace holdfast::http
