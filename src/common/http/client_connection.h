// The client's side of one connection, and its pool.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/http/client.h"
#include "common/http/stream.h"

namespace holdfast::http {

class ConnectionPool;

// loop::Loop thread only. Belongs to an exchange or lies idle in the pool; there its watched input
// tells at once when the peer closes it.
class ClientConnection final : public Stream {
public:
    ClientConnection(loop::Loop& loop, std::shared_ptr<Watchdog> watchdog)
        : Stream(loop, std::move(watchdog)) {}

    loop::Task<base::Result<>> connect(asio::ip::tcp::endpoint endpoint, base::Deadline deadline);
    void lend() { idle_ = false; }
    void rest(base::Deadline until);

private:
    void on_input() override;
    bool idle_ = false;
};

// Idle connections by address. loop::Loop thread only; outlives the client while exchanges are
// open.
class ConnectionPool {
public:
    ConnectionPool(loop::Loop& loop, const base::Clock& clock, ClientLimits limits);

    // An idle connection that was open when last heard of, or nothing.
    std::shared_ptr<ClientConnection> take(const std::string& address);
    std::shared_ptr<ClientConnection> make();
    void give_back(const std::string& address, std::shared_ptr<ClientConnection> connection);
    void forget(const std::string& address);
    void stop();

    std::vector<char> take_buffer();
    void give_back_buffer(std::vector<char> buffer);

    const ClientLimits limits;
    const base::Clock& clock;

private:
    loop::Loop& loop_;
    std::shared_ptr<Watchdog> watchdog_;
    // Newest last: those that lie longest time out first.
    std::unordered_map<std::string, std::deque<std::shared_ptr<ClientConnection>>> idle_;
    std::vector<std::vector<char>> buffers_;
    bool stopped_ = false;
};

}  // namespace holdfast::http
