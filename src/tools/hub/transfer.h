// HTTP downloads, several at once: the only file that knows libcurl.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace holdfast::hub {

// One GET. Redirects are followed; the token goes to the first host alone.
struct Fetch {
    std::string url;
    std::string token;  // sent as a bearer token; empty: none
    // First byte and the one behind the last. Nothing: the whole, without a Range header.
    struct Range {
        std::uint64_t begin = 0, end = 0;
    };
    std::optional<Range> range;
};

// The head of the last answer, behind all redirects.
struct Head {
    int status = 0;  // 0: there was no answer
    std::string host;
    std::string content_type;
    std::optional<std::uint64_t> content_length;
    struct ContentRange {
        std::uint64_t begin = 0, end = 0;    // end is behind the last byte
        std::optional<std::uint64_t> total;  // of the file; nothing if the server does not know
    };
    std::optional<ContentRange> content_range;
    std::optional<std::chrono::seconds> retry_after;
    std::string link;           // Link
    std::string error_code;     // X-Error-Code, such as GatedRepo
    std::string error_message;  // X-Error-Message
};

// Takes what comes. Called by Transfers::wait.
class Sink {
public:
    virtual ~Sink() = default;
    // Once, before the first byte. False ends the transfer.
    virtual bool begin(const Head& head) = 0;
    virtual bool take(std::span<const std::byte> bytes) = 0;
};

enum class Failure {
    none,
    stopped,    // by the sink
    lookup,     // the name of the host has no address
    connect,    // no connection
    tls,        // no trust, or no agreement on encryption
    redirects,  // too many, or to a forbidden scheme
    stalled,    // too slow for too long
    broken,     // ended in the middle
    other,
};

struct Outcome {
    Sink* sink = nullptr;
    Failure failure = Failure::none;
    std::string reason;  // libcurl's words
    Head head;
};

struct TransferOptions {
    std::chrono::seconds connect_max{15};
    // A transfer below 1 KiB/s for that long is stalled.
    std::chrono::seconds stall_max{30};
    std::string ca_file;  // empty: the system's certificates
};

// Runs transfers in the calling thread. Sinks must outlive their transfers.
class Transfers {
public:
    explicit Transfers(TransferOptions options);
    ~Transfers();
    Transfers(const Transfers&) = delete;
    Transfers& operator=(const Transfers&) = delete;

    void start(const Fetch& fetch, Sink& sink);
    void cancel(Sink& sink);
    // Moves bytes for at most `wait`, or until something has ended or `wake_fd` (-1: none) becomes
    // readable. Returns what has ended.
    std::vector<Outcome> wait(std::chrono::milliseconds wait, int wake_fd);

private:
    struct Multi;
    struct Transfer;
    TransferOptions options_;
    std::unique_ptr<Multi> multi_;
    std::map<Sink*, std::unique_ptr<Transfer>> running_;
};

// "https://host:port" of a URL, in lower case; nothing if it is no http or https URL with a host.
std::optional<std::string> origin_of(const std::string& url);
// `text` with everything but unreserved characters percent-encoded (RFC 3986); encode_path leaves
// '/' as it is.
std::string encode_segment(std::string_view text);
std::string encode_path(std::string_view text);

}  // namespace holdfast::hub
