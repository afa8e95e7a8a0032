// Reads one response from a client's connection.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/http/client_connection.h"
#include "common/http/client_exchange.h"
#include "common/http/parser.h"

namespace holdfast::http {

// Holds the connection from the request until the body has been read, or until it is destroyed.
class ResponseReader final : public ClientExchange {
public:
    ResponseReader(std::shared_ptr<ConnectionPool> pool, std::string address,
                   std::shared_ptr<ClientConnection> connection, std::string method);
    ~ResponseReader() override;

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
