#include "common/http/client_connection.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace holdfast::http {
namespace {
constexpr std::size_t spare_buffers_max = 64;

std::unexpected<base::Error> refused(int error) {
    return base::fail(base::Code::unavailable, "{}", std::strerror(error));
}

// Out of file descriptors or memory: nobody else is at fault, and it passes.
std::unexpected<base::Error> no_socket(int error) {
    return std::unexpected(base::Error{base::Code::overloaded,
                                       fmt::format("no socket: {}", std::strerror(error)),
                                       base::Origin::self, base::Retry::later, "", "overloaded"});
}

}  // namespace

loop::Task<base::Result<>> ClientConnection::connect(asio::ip::tcp::endpoint endpoint,
                                                     base::Deadline deadline) {
    base::UniqueFd socket(::socket(endpoint.protocol().family(),
                                   SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!socket) co_return no_socket(errno);
    const int begun = ::connect(socket.get(), endpoint.data(), endpoint.size());
    if (begun != 0 && errno != EINPROGRESS) co_return refused(errno);
    HF_CO_TRY(open(std::move(socket)));
    if (begun == 0) co_return base::Result<>();
    set_deadline(deadline);
    const bool settled = co_await wait_output();
    clear_deadline();
    if (expired_once()) co_return base::fail(base::Code::deadline, "connecting took too long");
    if (!settled) co_return base::fail(base::Code::cancelled, "connecting was cancelled");
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) co_return refused(error);
    co_return base::Result<>();
}

void ClientConnection::rest(base::Deadline until) {
    idle_ = true;
    set_deadline(until);
    watch_input();
}

// An idle connection that says anything is of no use any more.
void ClientConnection::on_input() {
    if (!idle_) return;
    char byte = 0;
    if (read({&byte, 1}).empty) {
        watch_input();
    } else {
        close();
    }
}

ConnectionPool::ConnectionPool(loop::Loop& loop, const base::Clock& clock, ClientLimits limits)
    : limits(limits),
      clock(clock),
      loop_(loop),
      watchdog_(std::make_shared<Watchdog>(loop, clock)) {}

std::shared_ptr<ClientConnection> ConnectionPool::take(const std::string& address) {
    const auto found = idle_.find(address);
    if (found == idle_.end()) return nullptr;
    auto& connections = found->second;
    while (!connections.empty()) {
        auto connection = std::move(connections.back());
        connections.pop_back();
        if (!connection->is_open()) continue;
        connection->lend();
        connection->clear_deadline();
        return connection;
    }
    idle_.erase(found);
    return nullptr;
}

std::shared_ptr<ClientConnection> ConnectionPool::make() {
    return std::make_shared<ClientConnection>(loop_, watchdog_);
}

void ConnectionPool::give_back(const std::string& address,
                               std::shared_ptr<ClientConnection> connection) {
    if (stopped_ || !connection->is_open()) return connection->close();
    auto& connections = idle_[address];
    while (!connections.empty() &&
           (connections.size() >= limits.idle_per_host_max || !connections.front()->is_open())) {
        connections.front()->close();
        connections.pop_front();
    }
    if (limits.idle_per_host_max == 0) return connection->close();
    connection->rest(base::Deadline::after(clock, limits.idle_ms_max));
    connections.push_back(std::move(connection));
}

void ConnectionPool::forget(const std::string& address) {
    const auto found = idle_.find(address);
    if (found == idle_.end()) return;
    for (const auto& connection : found->second) connection->close();
    idle_.erase(found);
}

void ConnectionPool::stop() {
    stopped_ = true;
    for (const auto& [address, connections] : idle_) {
        for (const auto& connection : connections) connection->close();
    }
    idle_.clear();
    watchdog_->stop();
}

std::vector<char> ConnectionPool::take_buffer() {
    if (buffers_.empty()) return std::vector<char>(limits.piece_bytes);
    std::vector<char> buffer = std::move(buffers_.back());
    buffers_.pop_back();
    return buffer;
}

void ConnectionPool::give_back_buffer(std::vector<char> buffer) {
    if (buffer.size() == limits.piece_bytes && buffers_.size() < spare_buffers_max) {
        buffers_.push_back(std::move(buffer));
    }
}

}  // namespace holdfast::http
