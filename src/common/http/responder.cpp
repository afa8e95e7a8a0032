// The answering half of a connection.
#include <charconv>

#include "common/base/assert.h"
#include "common/http/connection.h"

namespace holdfast::http {
namespace {

// "1a2f\r\n" in a buffer of the caller's.
class ChunkSizeLine {
public:
    explicit ChunkSizeLine(std::size_t size) {
        char* end = std::to_chars(text_.data(), text_.data() + 16, size, 16).ptr;
        *end++ = '\r';
        *end++ = '\n';
        size_ = end - text_.data();
    }
    std::string_view view() const { return {text_.data(), size_}; }

private:
    std::array<char, 18> text_;
    std::size_t size_;
};

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

// What try_write left over, or its failure. Nearly always the kernel takes everything at once, and
// the callers spare themselves this coroutine. What lies in the shared head buffer is copied first,
// because other connections use that buffer meanwhile.
loop::Task<base::Result<>> Connection::send_rest(std::span<iovec> parts, base::Result<bool> tried) {
    base::Result<> sent;
    if (tried) {
        std::string head;
        const std::string& shared = shared_->head_buffer;
        const auto* first = static_cast<const char*>(parts.front().iov_base);
        if (first >= shared.data() && first < shared.data() + shared.size()) {
            head.assign(first, parts.front().iov_len);
            parts.front() = part(head);
        }
        writing_ = true;
        sent = co_await Stream::write(parts, shared_->limits.write_ms_max);
        writing_ = false;
    }
    if (!tried || !sent) {
        answer_ = Answer::broken;
        client_left();
        co_return base::fail(base::Code::cancelled, "the client has closed the connection");
    }
    co_return base::Result<>();
}

loop::Task<base::Result<>> Connection::send(Response response) {
    HF_ASSERT(answer_ == Answer::none || answer_ == Answer::broken);
    HF_CO_TRY(check_writable());
    if (shared_->draining) keep_alive_ = false;
    std::string& head = shared_->head_buffer;
    head.clear();
    append_response_head(head, response.status, response.headers,
                         shared_->date_line.text(shared_->clock.unix_seconds()), connection_line());
    const bool no_body = has_no_body(response.status);
    if (!no_body) {
        std::array<char, 20> digits;
        const char* end =
            std::to_chars(digits.data(), digits.data() + digits.size(), response.body.size()).ptr;
        const std::string_view length(digits.data(), end - digits.data());
        head.append("Content-Length: ").append(length).append("\r\n");
    }
    head.append("\r\n");
    iovec parts[] = {part(head), part(no_body || head_only_ ? std::string_view() : response.body)};
    std::span<iovec> rest = parts;
    auto tried = try_write(rest);
    if (!tried || !*tried) HF_CO_TRY(co_await send_rest(rest, std::move(tried)));
    answer_ = Answer::finished;
    co_return base::Result<>();
}

void Connection::start(int status, Headers headers) {
    HF_ASSERT(answer_ == Answer::none || answer_ == Answer::broken);
    if (answer_ == Answer::broken) return;
    answer_ = Answer::started;
    streamed_ = true;
    if (has_no_body(status)) head_only_ = true;
    chunked_ = http_11_ && !head_only_;
    if (shared_->draining || !http_11_) keep_alive_ = false;
    append_response_head(pending_, status, headers,
                         shared_->date_line.text(shared_->clock.unix_seconds()), connection_line());
    if (http_11_ && !has_no_body(status)) pending_.append("Transfer-Encoding: chunked\r\n");
    pending_.append("\r\n");
}

std::string Connection::take_pending() {
    rest_waits_ = false;
    return std::exchange(pending_, std::string());
}

loop::Task<base::Result<>> Connection::write(std::string_view bytes) {
    HF_ASSERT(answer_ == Answer::started || answer_ == Answer::broken);
    HF_CO_TRY(check_writable());
    if (head_only_) bytes = {};
    // An empty chunk would end the stream.
    const bool framed = chunked_ && !bytes.empty();
    const ChunkSizeLine size(bytes.size());
    const std::string head = take_pending();
    iovec parts[] = {part(head), part(framed ? size.view() : std::string_view()), part(bytes),
                     part(framed ? "\r\n" : "")};
    std::span<iovec> rest = parts;
    auto tried = try_write(rest);
    if (!tried || !*tried) HF_CO_TRY(co_await send_rest(rest, std::move(tried)));
    co_return base::Result<>();
}

loop::Task<base::Result<>> Connection::finish(std::string_view last) {
    HF_ASSERT(answer_ == Answer::started || answer_ == Answer::broken);
    HF_CO_TRY(check_writable());
    if (head_only_) last = {};
    const bool framed = chunked_ && !last.empty();
    const ChunkSizeLine size(last.size());
    const std::string head = take_pending();
    const std::string_view end = framed ? "\r\n0\r\n\r\n" : chunked_ ? "0\r\n\r\n" : "";
    iovec parts[] = {part(head), part(framed ? size.view() : std::string_view()), part(last),
                     part(end)};
    std::span<iovec> rest = parts;
    auto tried = try_write(rest);
    if (!tried || !*tried) HF_CO_TRY(co_await send_rest(rest, std::move(tried)));
    answer_ = Answer::finished;
    co_return base::Result<>();
}

void Connection::nudge(std::string_view bytes) {
    HF_ASSERT(answer_ == Answer::started || answer_ == Answer::broken);
    if (writing_ || !check_writable()) return;
    if (!rest_waits_ && !head_only_) {
        if (chunked_) pending_.append(ChunkSizeLine(bytes.size()).view());
        pending_.append(bytes).append(chunked_ ? "\r\n" : "");
    }
    const std::uint64_t before = Stream::bytes_sent();
    iovec parts[] = {part(pending_)};
    std::span<iovec> rest = parts;
    if (!try_write(rest)) {
        answer_ = Answer::broken;
        client_left();
        return;
    }
    pending_.erase(0, Stream::bytes_sent() - before);
    rest_waits_ = !pending_.empty();
}

Framing Connection::framing() const {
    if (answer_ == Answer::none) return Framing::none;
    if (!streamed_) return Framing::length;
    return chunked_ ? Framing::chunked : Framing::until_close;
}

}  // namespace holdfast::http
