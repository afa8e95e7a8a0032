#include "http/server.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <cerrno>

#include "http/address.h"
#include "http/connection.h"

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
    Impl(Loop& loop, const base::Clock& clock, int listener, ServerLimits limits, Handler handler,
         ErrorBody error_body)
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
        shared_->on_closed = [this] { watch_listener(); };
        watch_listener();
    }

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
                serve(std::move(fd), address);
            } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                rest();
            } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
                return;
            }
            // Anything else concerns the one connection that has already gone again.
        }
    }

    void serve(base::UniqueFd fd, const sockaddr_storage& address) {
        auto connection = std::make_shared<Connection>(loop_, shared_);
        if (!connection->open(std::move(fd), address_text(address, false))) return;
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

    using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;

    Loop& loop_;
    std::shared_ptr<ServerShared> shared_;
    Acceptor acceptor_;
    base::UniqueFd listener_;
    base::UniqueFd reserve_;
    bool waiting_ = false;
    bool resting_ = false;
};

Server::Server(Loop& loop, const base::Clock& clock, int listener, ServerLimits limits,
               Handler handler, ErrorBody error_body)
    : impl_(std::make_shared<Impl>(loop, clock, listener, limits, std::move(handler),
                                   std::move(error_body))) {}

Server::~Server() { impl_->stop(); }

void Server::start() { impl_->start(); }
void Server::drain() { impl_->drain(); }
std::size_t Server::connections() const { return impl_->connections(); }

}  // namespace holdfast::http
