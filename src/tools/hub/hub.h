// A hub: where models come from, and how it is asked.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tools/hub/listing.h"
#include "tools/hub/reference.h"
#include "tools/hub/transfer.h"

namespace holdfast::hub {

// How transient failures are met: 429, 5xx, connections that break, stalls.
struct RetryOptions {
    int attempts_max = 8;  // in a row, without a new byte in between
    std::chrono::milliseconds pause_first{500};
    std::chrono::milliseconds pause_max{30'000};
    // Longest that a Retry-After is obeyed; a hub that wants more is asked again at this time.
    std::chrono::milliseconds retry_after_max{300'000};
    // Before attempt `failures` + 1, with a quarter of chance in it, so that many do not come back
    // at the same moment.
    std::chrono::milliseconds pause(int failures, const Head& head) const;
};

struct Hub {
    enum class Kind { hugging_face, modelscope };
    Kind kind = Kind::hugging_face;
    std::string endpoint;  // "https://huggingface.co", without a slash at the end
    std::string token;     // empty: none. Goes to the endpoint alone, and into no message
    TransferOptions transfer;
    RetryOptions retry;

    // The address of a file; `revision` is a commit where the hub has told one.
    std::string file_url(const Reference& reference, const std::string& revision,
                         const std::string& path) const;
    // For people: where a model is explained, and its terms are accepted.
    std::string page_url(const std::string& repo) const;
};

using Environment = std::function<std::string(const std::string& name)>;  // empty: not set
Environment system_environment();

// The hub that the variables HF_ENDPOINT (default https://huggingface.co) and the token's sources
// name. `kind` is "huggingface", "modelscope" or empty: then the endpoint's name decides.
// The token: `token`, else HF_TOKEN, else the file HF_TOKEN_PATH, else token in HF_HOME, else
// ~/.cache/huggingface/token; for ModelScope: `token`, else MODELSCOPE_API_TOKEN.
// HF_HUB_DOWNLOAD_TIMEOUT: seconds after which a silent transfer is given up (default 30).
// SSL_CERT_FILE: trusted certificates.
[[nodiscard]] base::Result<Hub> find_hub(const Environment& environment, const std::string& kind,
                                         const std::string& token);

// Whether the user wants to stop: the file descriptor is readable. -1: never. Any thread.
class Stop {
public:
    explicit Stop(int fd = -1) : fd_(fd) {}
    int fd() const { return fd_; }
    bool requested() const;

private:
    int fd_;
};

struct Listing {
    std::string commit;  // empty where the hub does not tell
    std::vector<RemoteFile> files;
};
// Asks the hub for the files of a repository. `say` gets a line about each pause.
[[nodiscard]] base::Result<Listing> list_files(const Hub& hub, const Reference& reference,
                                               const Stop& stop,
                                               const std::function<void(std::string)>& say);

// Whether another attempt may do better.
bool is_transient(const Outcome& outcome);
// What went wrong, for people: cause and next step. `subject` is what was asked for.
base::Error explain(const Hub& hub, const Reference& reference, const Outcome& outcome,
                    std::string_view subject);

}  // namespace holdfast::hub
