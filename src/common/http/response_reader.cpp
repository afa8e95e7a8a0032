#include "common/http/response_reader.h"

#include <algorithm>
#include <cstring>

namespace holdfast::http {
namespace {

std::unexpected<base::Error> unavailable(std::string what) {
    base::Error error;
    error.code = base::Code::unavailable;
    error.what = std::move(what);
    error.origin = base::Origin::instance;
    error.retry = base::Retry::elsewhere;
    return std::unexpected(std::move(error));
}

}  // namespace

ResponseReader::ResponseReader(std::shared_ptr<ConnectionPool> pool, std::string address,
                               std::shared_ptr<ClientConnection> connection, std::string method)
    : pool_(std::move(pool)),
      address_(std::move(address)),
      connection_(std::move(connection)),
      method_(std::move(method)),
      scanner_({pool_->limits.head_bytes_max, 1000}) {}

ResponseReader::~ResponseReader() {
    if (connection_) connection_->close();
    pool_->give_back_buffer(std::move(buffer_));
}

// Takes what one read brings behind what is still unread. False if there was nothing after all.
base::Result<bool> ResponseReader::receive(Stream::Wake wake) {
    connection_->clear_deadline();
    if (wake == Stream::Wake::cancelled) {
        return base::fail(base::Code::cancelled, "the wait for the answer was cancelled");
    }
    if (wake == Stream::Wake::expired) {
        base::Error late;
        late.code = base::Code::deadline;
        late.what = "the instance did not answer in time";
        late.origin = base::Origin::instance;
        return std::unexpected(std::move(late));
    }
    // While nothing comes, an exchange owns no buffer.
    if (buffer_.empty()) buffer_ = pool_->take_buffer();
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
    const Stream::Read got = connection_->read(std::span(buffer_).subspan(end_));
    if (got.empty) return false;
    ended_ = got.ended;
    end_ += got.size;
    if (got.size > 0) heard_anything_ = true;
    return true;
}

loop::Task<base::Result<>> ResponseReader::read_head(base::Deadline deadline) {
    while (true) {
        connection_->set_deadline(deadline);
        const Stream::Wake wake = co_await connection_->wait_input();
        HF_CO_TRY_ASSIGN(const bool received, receive(wake));
        if (!received) continue;
        if (ended_) {
            co_return unavailable(heard_anything_ ? "the instance closed within the answer's head"
                                                  : "the instance closed without an answer");
        }
        HF_CO_TRY_ASSIGN(const bool complete, scan_head());
        if (complete) break;
    }
    left_ = head_.length;
    if (head_.framing == Framing::none) body_done();
    co_return base::Result<>();
}

// True when the final head is complete.
base::Result<bool> ResponseReader::scan_head() {
    while (begin_ < end_) {
        const std::string_view bytes(buffer_.data() + begin_, end_ - begin_);
        const auto size = scanner_.scan(bytes);
        if (!size) return unavailable("malformed answer: " + std::string(size.error().reason));
        if (*size == 0) return false;
        auto head = parse_response_head(bytes.substr(0, *size), method_);
        if (!head) return unavailable("malformed answer: " + std::string(head.error().reason));
        begin_ += *size;
        scanner_ = HeadScanner({pool_->limits.head_bytes_max, 1000});
        if (head->status == 101) return unavailable("the instance changed the protocol unasked");
        if (head->status < 200) continue;
        head_ = *std::move(head);
        return true;
    }
    return false;
}

loop::Task<base::Result<std::string_view>> ResponseReader::read_some(base::Deadline deadline) {
    while (true) {
        if (done_) co_return std::string_view();
        if (!connection_) co_return unavailable("the connection has been lost before");
        if (begin_ == end_) {
            pool_->give_back_buffer(std::move(buffer_));
            buffer_.clear();
            begin_ = end_ = 0;
            connection_->set_deadline(deadline);
            const Stream::Wake wake = co_await connection_->wait_input();
            const auto received = receive(wake);
            if (!received) {
                connection_->close();
                connection_.reset();
                co_return std::unexpected(received.error());
            }
            if (!*received) continue;
            if (ended_) co_return on_end();
        }
        auto piece = take_piece();
        if (!piece) {
            connection_->close();
            connection_.reset();
            co_return std::unexpected(std::move(piece).error());
        }
        if (!piece->empty()) co_return *piece;
    }
}

base::Result<std::string_view> ResponseReader::on_end() {
    connection_->close();
    connection_.reset();
    if (head_.framing != Framing::until_close) {
        return unavailable("the instance closed within the answer");
    }
    done_ = true;
    return std::string_view();
}

// The body's bytes among those received.
base::Result<std::string_view> ResponseReader::take_piece() {
    if (head_.framing == Framing::chunked) return take_chunks();
    std::size_t size = end_ - begin_;
    if (head_.framing == Framing::length) size = std::min<std::uint64_t>(size, left_);
    const std::string_view piece(buffer_.data() + begin_, size);
    begin_ += size;
    if (head_.framing == Framing::length) {
        left_ -= size;
        if (left_ == 0) body_done();
    }
    return piece;
}

// Takes the framing off in place, so that one read gives one piece however many chunks it held.
base::Result<std::string_view> ResponseReader::take_chunks() {
    char* const start = buffer_.data() + begin_;
    std::size_t size = 0;
    while (begin_ < end_ && !chunks_.done()) {
        const auto step = chunks_.next({buffer_.data() + begin_, end_ - begin_});
        if (!step) return unavailable("malformed answer: " + std::string(step.error().reason));
        begin_ += step->consumed;
        if (step->data.empty()) continue;
        std::memmove(start + size, step->data.data(), step->data.size());
        size += step->data.size();
    }
    if (chunks_.done()) body_done();
    return std::string_view(start, size);
}

// The connection serves the next request, unless the peer said otherwise or sent too much.
void ResponseReader::body_done() {
    done_ = true;
    if (keep_ && head_.keep_alive && begin_ == end_) {
        pool_->give_back(address_, std::move(connection_));
    } else {
        connection_->close();
    }
    connection_.reset();
}

loop::Task<base::Result<std::string>> ResponseReader::read_all(base::Deadline deadline) {
    std::string body;
    while (true) {
        HF_CO_TRY_ASSIGN(const std::string_view piece, co_await read_some(deadline));
        if (piece.empty()) co_return body;
        if (piece.size() > pool_->limits.body_bytes_max - body.size()) {
            co_return unavailable("the answer is larger than allowed");
        }
        body.append(piece);
    }
}

}  // namespace holdfast::http
