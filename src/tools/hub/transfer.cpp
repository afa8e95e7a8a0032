#include "tools/hub/transfer.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "common/base/assert.h"

namespace holdfast::hub {
namespace {

constexpr long redirects_max = 8;

struct FreeEasy {
    void operator()(CURL* easy) const { ::curl_easy_cleanup(easy); }
};
struct FreeList {
    void operator()(curl_slist* list) const { ::curl_slist_free_all(list); }
};
struct FreeUrl {
    void operator()(CURLU* url) const { ::curl_url_cleanup(url); }
};

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return out;
}

std::string_view trimmed(std::string_view text) {
    const auto begin = text.find_first_not_of(" \t\r\n");
    if (begin == text.npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

template <class Number = std::uint64_t>
std::optional<Number> number_in(std::string_view text) {
    Number value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// "bytes 0-99/1000" (RFC 9110, section 14.4).
std::optional<Head::ContentRange> parse_content_range(std::string_view text) {
    if (!text.starts_with("bytes ")) return std::nullopt;
    text.remove_prefix(6);
    const auto dash = text.find('-'), slash = text.find('/');
    if (dash == text.npos || slash == text.npos || slash < dash) return std::nullopt;
    const auto first = number_in(text.substr(0, dash));
    const auto last = number_in(text.substr(dash + 1, slash - dash - 1));
    const auto total = text.substr(slash + 1);
    if (!first || !last || *last < *first || *last == UINT64_MAX) return std::nullopt;
    Head::ContentRange range{.begin = *first, .end = *last + 1, .total = number_in(total)};
    if (!range.total && total != "*") return std::nullopt;
    return range;
}

// A number of seconds or a date (RFC 9110, section 10.2.3).
std::optional<std::chrono::seconds> parse_retry_after(const std::string& text) {
    if (const auto seconds = number_in<std::uint32_t>(text)) return std::chrono::seconds(*seconds);
    const std::time_t date = ::curl_getdate(text.c_str(), nullptr);
    if (date < 0) return std::nullopt;
    const auto left =
        std::chrono::system_clock::from_time_t(date) - std::chrono::system_clock::now();
    return std::max(std::chrono::seconds(0), std::chrono::ceil<std::chrono::seconds>(left));
}

void read_field(Head& head, std::string_view line) {
    const auto colon = line.find(':');
    if (colon == line.npos) return;
    const auto name = lower(line.substr(0, colon));
    const std::string value(trimmed(line.substr(colon + 1)).substr(0, 4096));
    if (name == "content-type") head.content_type = lower(value);
    if (name == "content-length") head.content_length = number_in(value);
    if (name == "content-range") head.content_range = parse_content_range(value);
    if (name == "retry-after") head.retry_after = parse_retry_after(value);
    if (name == "link") head.link = value;
    if (name == "x-error-code") head.error_code = value.substr(0, 100);
    if (name == "x-error-message") head.error_message = value.substr(0, 300);
}

Failure failure_of(CURLcode code) {
    switch (code) {
        case CURLE_OK:
            return Failure::none;
        case CURLE_WRITE_ERROR:
            return Failure::stopped;
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
            return Failure::lookup;
        case CURLE_COULDNT_CONNECT:
            return Failure::connect;
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CIPHER:
            return Failure::tls;
        case CURLE_TOO_MANY_REDIRECTS:
        case CURLE_UNSUPPORTED_PROTOCOL:
            return Failure::redirects;
        case CURLE_OPERATION_TIMEDOUT:
            return Failure::stalled;
        case CURLE_PARTIAL_FILE:
        case CURLE_GOT_NOTHING:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_HTTP2:
        case CURLE_WEIRD_SERVER_REPLY:
            return Failure::broken;
        default:
            return Failure::other;
    }
}

// libcurl's global state must be made once, and before there are other threads.
void initialize_once() {
    static const CURLcode done = ::curl_global_init(CURL_GLOBAL_DEFAULT);
    HF_ASSERT(done == CURLE_OK);
}

std::string host_of(CURL* easy) {
    char* url = nullptr;
    ::curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
    return url == nullptr ? std::string() : origin_of(url).value_or("");
}

}  // namespace

struct Transfers::Multi {
    CURLM* handle = ::curl_multi_init();
    Multi() = default;
    ~Multi() { ::curl_multi_cleanup(handle); }
    Multi(const Multi&) = delete;
    Multi& operator=(const Multi&) = delete;
};

struct Transfers::Transfer {
    std::unique_ptr<CURL, FreeEasy> easy{::curl_easy_init()};
    std::unique_ptr<curl_slist, FreeList> fields;
    std::array<char, CURL_ERROR_SIZE> reason{};
    Head head;
    Sink* sink = nullptr;
    bool begun = false;

    // Every answer of a chain of redirects begins with its status line.
    static std::size_t on_header(char* data, std::size_t, std::size_t count, void* self) {
        auto& transfer = *static_cast<Transfer*>(self);
        const std::string_view line(data, count);
        if (line.starts_with("HTTP/")) transfer.head = Head{};
        read_field(transfer.head, line);
        return count;
    }
    static std::size_t on_data(char* data, std::size_t, std::size_t count, void* self) {
        auto& transfer = *static_cast<Transfer*>(self);
        if (!transfer.begin()) return 0;
        return transfer.sink->take(std::as_bytes(std::span(data, count))) ? count : 0;
    }
    bool begin() {
        if (begun) return true;
        begun = true;
        complete_head();
        return sink->begin(head);
    }
    void complete_head() {
        long status = 0;
        ::curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
        head.status = static_cast<int>(status);
        head.host = host_of(easy.get());
    }
};

Transfers::Transfers(TransferOptions options) : options_(std::move(options)) {
    initialize_once();
    multi_ = std::make_unique<Multi>();
    HF_ASSERT(multi_->handle != nullptr);
    // Parallel transfers shall have connections of their own.
    ::curl_multi_setopt(multi_->handle, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
}

Transfers::~Transfers() {
    while (!running_.empty()) cancel(*running_.begin()->first);
}

void Transfers::start(const Fetch& fetch, Sink& sink) {
    auto transfer = std::make_unique<Transfer>();
    transfer->sink = &sink;
    CURL* const easy = transfer->easy.get();
    HF_ASSERT(easy != nullptr && !running_.contains(&sink));
    const auto set = [easy](CURLoption option, auto value) {
        HF_ASSERT(::curl_easy_setopt(easy, option, value) == CURLE_OK);
    };
    set(CURLOPT_URL, fetch.url.c_str());
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_USERAGENT, "holdfast/" HOLDFAST_VERSION);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(options_.connect_max.count()));
    set(CURLOPT_LOW_SPEED_LIMIT, 1024L);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stall_max.count()));
    set(CURLOPT_BUFFERSIZE, 256L * 1024);
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, redirects_max);
    // From an encrypted beginning no redirect leads to plain text.
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, fetch.url.starts_with("https:") ? "https" : "http,https");
    if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
    // libcurl keeps an Authorization field to the host, port and scheme that it was given for.
    if (!fetch.token.empty()) {
        const auto field = "Authorization: Bearer " + fetch.token;
        transfer->fields.reset(::curl_slist_append(nullptr, field.c_str()));
        set(CURLOPT_HTTPHEADER, transfer->fields.get());
    }
    if (fetch.range)
        set(CURLOPT_RANGE, fmt::format("{}-{}", fetch.range->begin, fetch.range->end - 1).c_str());
    set(CURLOPT_ERRORBUFFER, transfer->reason.data());
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(transfer.get()));
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_data);
    set(CURLOPT_WRITEDATA, static_cast<void*>(transfer.get()));
    set(CURLOPT_PRIVATE, static_cast<void*>(transfer.get()));
    HF_ASSERT(::curl_multi_add_handle(multi_->handle, easy) == CURLM_OK);
    running_.emplace(&sink, std::move(transfer));
}

void Transfers::cancel(Sink& sink) {
    const auto found = running_.find(&sink);
    if (found == running_.end()) return;
    ::curl_multi_remove_handle(multi_->handle, found->second->easy.get());
    running_.erase(found);
}

std::vector<Outcome> Transfers::wait(std::chrono::milliseconds wait, int wake_fd) {
    int still_running = 0;
    curl_waitfd wake{.fd = wake_fd, .events = CURL_WAIT_POLLIN, .revents = 0};
    ::curl_multi_perform(multi_->handle, &still_running);
    if (still_running == static_cast<int>(running_.size())) {
        ::curl_multi_poll(multi_->handle, &wake, wake_fd >= 0 ? 1 : 0,
                          static_cast<int>(wait.count()), nullptr);
        ::curl_multi_perform(multi_->handle, &still_running);
    }
    std::vector<Outcome> ended;
    int left = 0;
    while (const CURLMsg* message = ::curl_multi_info_read(multi_->handle, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        CURL* const easy = message->easy_handle;
        const CURLcode code = message->data.result;
        Transfer* transfer = nullptr;
        ::curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
        auto failure = failure_of(code);
        curl_off_t request_at = 0;
        ::curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &request_at);
        const bool never_connected = failure == Failure::stalled && request_at == 0;
        if (never_connected) failure = Failure::connect;
        if (failure == Failure::none && !transfer->begin()) failure = Failure::stopped;
        transfer->complete_head();
        ended.push_back({.sink = transfer->sink,
                         .failure = failure,
                         .reason = transfer->reason[0] != '\0' ? transfer->reason.data()
                                                               : ::curl_easy_strerror(code),
                         .head = transfer->head});
        cancel(*transfer->sink);
    }
    return ended;
}

std::optional<std::string> origin_of(const std::string& url) {
    const std::unique_ptr<CURLU, FreeUrl> parsed(::curl_url());
    if (::curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
        return std::nullopt;
    const auto part = [&](CURLUPart which) {
        char* text = nullptr;
        std::string out;
        if (::curl_url_get(parsed.get(), which, &text, CURLU_DEFAULT_PORT) == CURLUE_OK) out = text;
        ::curl_free(text);
        return lower(out);
    };
    const auto scheme = part(CURLUPART_SCHEME), host = part(CURLUPART_HOST);
    if ((scheme != "http" && scheme != "https") || host.empty()) return std::nullopt;
    return fmt::format("{}://{}:{}", scheme, host, part(CURLUPART_PORT));
}

std::string encode_segment(std::string_view text) {
    constexpr std::string_view plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    std::string out;
    for (const char c : text) {
        if (plain.find(c) != plain.npos) {
            out += c;
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

std::string encode_path(std::string_view text) {
    std::string out;
    while (true) {
        const auto slash = text.find('/');
        out += encode_segment(text.substr(0, slash));
        if (slash == text.npos) return out;
        out += '/';
        text.remove_prefix(slash + 1);
    }
}

}  // namespace holdfast::hub
