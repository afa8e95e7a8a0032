// The client's side of one connection, its pool, and the reader of one response.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/http/client.h"
#include "common/http/parser.h"
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

// Reads one response.
class ClientExchange final : public Exchange {
public:
    ClientExchange(std::shared_ptr<ConnectionPool> pool, std::string address,
                   std::shared_ptr<ClientConnection> connection, std::string method);
    ~ClientExchange() override;

    // Until the final head has come; informational ones are skipped.
    loop::Task<base::Result<>> read_head(base::Deadline deadline);
    bool heard_anything() const { return heard_anything_; }
    // The request could not be sent whole: the connection is of no use after the answer.
    void do_not_keep() { keep_ = false; }

    int status() const override { return head_.status; }
    const Headers& headers() const override { return head_.headers; }
    loop::Task<base::Result<std::string_view>> read_some(base::Deadline deadline) override;
    loop::Task<base::Result<std::string>> read_all(base::Deadline deadline) override;

private:
    base::Result<bool> receive(Stream::Wake wake);
    base::Result<bool> scan_head();
    base::Result<std::string_view> take_piece();
    base::Result<std::string_view> take_chunks();
    base::Result<std::string_view> on_end();
    void body_done();

    std::shared_ptr<ConnectionPool> pool_;
    std::string address_;
    std::shared_ptr<ClientConnection> connection_;  // empty when it has been given back
    std::string method_;
    std::vector<char> buffer_;
    std::size_t begin_ = 0, end_ = 0;  // what has been received and not yet been read
    HeadScanner scanner_;
    ResponseHead head_;
    ChunkDecoder chunks_;
    std::uint64_t left_ = 0;
    bool keep_ = true;
    bool heard_anything_ = false;
    bool ended_ = false;  // the peer has closed
    bool done_ = false;   // the body has been read to its end
};

}  // namespace holdfast::http
