#include "tools/hub/hub.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "common/base/random.h"
#include "common/base/trim.h"
#include "common/base/unique_fd.h"

namespace holdfast::hub {
namespace {

using base::Code;
using base::Error;
using base::fail;

constexpr std::size_t answer_bytes_max = std::size_t{64} << 20;
constexpr int pages_max = 1000;

// A token must fit into one header field.
bool is_token(std::string_view text) {
    return !text.empty() && text.size() <= 4096 &&
           std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string read_token_file(const std::string& path) {
    const base::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    std::array<char, 8192> text{};
    const ssize_t count = file ? ::read(file.get(), text.data(), text.size()) : 0;
    const std::string_view all(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    return std::string(base::trimmed(all));
}

std::string find_token(const Environment& environment, Hub::Kind kind) {
    if (kind == Hub::Kind::modelscope) return environment("MODELSCOPE_API_TOKEN");
    if (auto token = environment("HF_TOKEN"); !token.empty()) return token;
    if (const auto path = environment("HF_TOKEN_PATH"); !path.empty()) return read_token_file(path);
    if (const auto home = environment("HF_HOME"); !home.empty())
        return read_token_file(home + "/token");
    return read_token_file(environment("HOME") + "/.cache/huggingface/token");
}

// The whole answer as text.
class Text final : public Sink {
public:
    bool begin(const Head&) override { return true; }
    bool take(std::span<const std::byte> bytes) override {
        if (text.size() + bytes.size() > answer_bytes_max) return false;
        text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return true;
    }
    std::string text;
};

struct Answer {
    Head head;
    std::string text;
};

// Asks one host: what it says is needed before anything else can be done.
class Asker {
public:
    Asker(const Hub& hub, const Reference& reference, const Stop& stop,
          const std::function<void(std::string)>& say)
        : hub_(hub), reference_(reference), stop_(stop), say_(say), transfers_(hub.transfer) {}

    base::Result<Answer> get(const std::string& path) {
        for (int failures = 1;; ++failures) {
            Text text;
            HF_TRY_ASSIGN(const Outcome outcome, once(hub_.endpoint + path, text));
            if (outcome.failure == Failure::none && outcome.head.status == 200)
                return Answer{outcome.head, std::move(text.text)};
            if (outcome.failure == Failure::stopped)
                return fail(Code::corrupt,
                            "{} answers with more than {} MiB to a question for a "
                            "list of files",
                            hub_.endpoint, answer_bytes_max >> 20);
            auto error = explain(hub_, reference_, outcome, reference_.repo);
            // Nothing has worked yet: a name or an address that is wrong will stay so.
            const bool worth_it = is_transient(outcome) && outcome.failure != Failure::lookup &&
                                  outcome.failure != Failure::connect;
            if (!worth_it || failures >= hub_.retry.attempts_max)
                return std::unexpected(std::move(error));
            HF_TRY(pause(hub_.retry.pause(failures, outcome.head), error.what));
        }
    }

private:
    base::Result<Outcome> once(const std::string& url, Text& text) {
        const Fetch fetch{.url = url, .token = hub_.token, .range = {}};
        transfers_.start(fetch, text);
        while (true) {
            auto ended = transfers_.wait(std::chrono::milliseconds(1000), stop_.fd());
            if (!ended.empty()) return std::move(ended.front());
            if (!stop_.requested()) continue;
            transfers_.cancel(text);
            return fail(Code::cancelled, "interrupted before anything was downloaded");
        }
    }

    base::Result<> pause(std::chrono::milliseconds length, const std::string& reason) {
        say_(fmt::format("{}; trying again in {:.1f} s", reason.substr(0, reason.find('\n')),
                         static_cast<double>(length.count()) / 1000));
        pollfd source{stop_.fd(), POLLIN, 0};
        if (::poll(&source, 1, static_cast<int>(length.count())) <= 0) return {};
        return fail(Code::cancelled, "interrupted before anything was downloaded");
    }

    const Hub& hub_;
    const Reference& reference_;
    const Stop& stop_;
    const std::function<void(std::string)>& say_;
    Transfers transfers_;
};

// A parser's clause with the hub as its subject.
std::unexpected<Error> blame(const Hub& hub, Error error) {
    error.what = hub.endpoint + " " + error.what;
    return std::unexpected(std::move(error));
}

base::Result<Listing> list_hugging_face(Asker& asker, const Hub& hub, const Reference& reference) {
    Listing listing;
    const auto base = "/api/models/" + reference.repo;
    const auto revision = reference.revision.empty() ? "main" : reference.revision;
    HF_TRY_ASSIGN(const Answer about, asker.get(base + "/revision/" + encode_segment(revision)));
    auto commit = parse_commit(about.text);
    if (!commit) return blame(hub, std::move(commit).error());
    listing.commit = *std::move(commit);
    std::string path = base + "/tree/" + listing.commit + "?recursive=true";
    for (int page = 0; !path.empty(); ++page) {
        if (page >= pages_max)
            return fail(Code::corrupt, "{} has more than {} pages of files for {}", hub.endpoint,
                        pages_max, reference.repo);
        HF_TRY_ASSIGN(const Answer answer, asker.get(path));
        if (auto parsed = parse_tree_page(answer.text, listing.files); !parsed)
            return blame(hub, std::move(parsed).error());
        path = next_page(answer.head.link);
    }
    return listing;
}

base::Result<Listing> list_modelscope(Asker& asker, const Hub& hub, const Reference& reference) {
    Listing listing;
    const auto revision = reference.revision.empty() ? "master" : reference.revision;
    HF_TRY_ASSIGN(const Answer answer,
                  asker.get(fmt::format("/api/v1/models/{}/repo/files?Revision={}&Recursive=true",
                                        reference.repo, encode_segment(revision))));
    if (auto parsed = parse_modelscope_files(answer.text, listing.files); !parsed)
        return blame(hub, std::move(parsed).error());
    return listing;
}

// The hub refused, or has no such thing.
std::string explain_status(const Hub& hub, const Reference& reference, const Head& head,
                           std::string_view subject) {
    const auto& code = head.error_code;
    const auto how = fmt::format(
        "\n  next: make a token at {}, then set {}=... or log in with that hub's own tool",
        hub.kind == Hub::Kind::modelscope ? hub.endpoint + "/my/myaccesstoken"
                                          : hub.endpoint + "/settings/tokens",
        hub.kind == Hub::Kind::modelscope ? "MODELSCOPE_API_TOKEN" : "HF_TOKEN");
    if (code == "GatedRepo" || head.status == 403) {
        if (hub.token.empty())
            return fmt::format(
                "{} is gated: {} gives it only to those who accepted its terms"
                "\n  next: accept them at {}, logged in{}",
                reference.repo, hub.endpoint, hub.page_url(reference.repo), how);
        return fmt::format(
            "{} refuses {} to the owner of this token (HTTP {})\n  next: accept the terms at {} "
            "with the same account, and see that the token may read gated repositories",
            hub.endpoint, subject, head.status, hub.page_url(reference.repo));
    }
    if (code == "RevisionNotFound")
        return fmt::format("{} has no revision \"{}\"\n  next: choose one of those at {}/tree/main",
                           reference.repo, reference.revision, hub.page_url(reference.repo));
    if (code == "EntryNotFound")
        return fmt::format("{} has no file {} (any more)\n  next: run it again", reference.repo,
                           subject);
    if (head.status == 401)
        return hub.token.empty()
                   ? fmt::format(
                         "{} has no {}, or it is private (HTTP 401)\n  next: check the "
                         "name; for a private one{}",
                         hub.endpoint, reference.repo, how.substr(how.find(':') + 1))
                   : fmt::format(
                         "{} has no {}, or does not accept the token (HTTP 401)\n  next: "
                         "check the name, and that the token has not expired",
                         hub.endpoint, reference.repo);
    if (head.status == 404)
        return fmt::format("{} has no {}{} (HTTP 404)\n  next: check the name{}", hub.endpoint,
                           subject,
                           reference.revision.empty() ? "" : " at revision " + reference.revision,
                           hub.token.empty() ? "; a private one needs a token" : "");
    if (head.status == 429)
        return fmt::format(
            "{} says that it is asked too often (HTTP 429)\n  next: wait some "
            "minutes and run it again{}",
            head.host, hub.token.empty() ? "; with a token the limits are wider" : "");
    return fmt::format("{} answers HTTP {} for {}{}{}\n  next: run it again later", head.host,
                       head.status, subject, head.error_message.empty() ? "" : ": ",
                       head.error_message);
}

Code code_of(int status) {
    if (status == 404) return Code::not_found;
    if (status == 401 || status == 403) return Code::invalid;
    return status == 429 ? Code::overloaded : Code::unavailable;
}

}  // namespace

std::chrono::milliseconds RetryOptions::pause(int failures, const Head& head) const {
    if (head.retry_after)
        return std::clamp<std::chrono::milliseconds>(*head.retry_after, pause_first,
                                                     retry_after_max);
    const auto doubled = pause_first * (1LL << std::clamp(failures - 1, 0, 20));
    base::SystemEntropy entropy;
    const auto whole = std::min<std::chrono::milliseconds>(doubled, pause_max);
    return whole - whole * static_cast<std::int64_t>(entropy.next() % 256) / 1024;
}

std::string Hub::file_url(const Reference& reference, const std::string& revision,
                          const std::string& path) const {
    return fmt::format("{}{}/{}/resolve/{}/{}", endpoint, kind == Kind::modelscope ? "/models" : "",
                       reference.repo, encode_segment(revision), encode_path(path));
}

std::string Hub::page_url(const std::string& repo) const {
    return fmt::format("{}{}/{}", endpoint, kind == Kind::modelscope ? "/models" : "", repo);
}

Environment system_environment() {
    return [](const std::string& name) {
        const char* const value = std::getenv(name.c_str());
        return std::string(base::trimmed(value == nullptr ? "" : value));
    };
}

base::Result<Hub> find_hub(const Environment& environment, const std::string& kind,
                           const std::string& token) {
    Hub hub;
    hub.endpoint = environment("HF_ENDPOINT");
    const bool is_given = !hub.endpoint.empty();
    if (!is_given)
        hub.endpoint = kind == "modelscope" ? "https://modelscope.cn" : "https://huggingface.co";
    while (hub.endpoint.ends_with('/')) hub.endpoint.pop_back();
    const auto origin = origin_of(hub.endpoint);
    if (!origin || hub.endpoint.find_first_of("?#@ ") != std::string::npos)
        return fail(Code::invalid,
                    "HF_ENDPOINT must be the address of a hub, such as "
                    "https://huggingface.co");
    const bool is_modelscope =
        kind.empty() ? origin->find("modelscope") != std::string::npos : kind == "modelscope";
    hub.kind = is_modelscope ? Hub::Kind::modelscope : Hub::Kind::hugging_face;
    hub.token = token.empty() ? find_token(environment, hub.kind) : token;
    if (!hub.token.empty() && !is_token(hub.token))
        return fail(Code::invalid, "the token has characters that no token has");
    hub.transfer.ca_file = environment("SSL_CERT_FILE");
    if (const auto text = environment("HF_HUB_DOWNLOAD_TIMEOUT"); !text.empty()) {
        unsigned seconds = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
        const bool sound = error == std::errc() && end == text.data() + text.size();
        if (!sound || seconds == 0 || seconds > 3600)
            return fail(Code::invalid, "HF_HUB_DOWNLOAD_TIMEOUT must be from 1 to 3600 seconds");
        hub.transfer.stall_max = std::chrono::seconds(seconds);
    }
    return hub;
}

bool Stop::requested() const {
    pollfd source{fd_, POLLIN, 0};
    return fd_ >= 0 && ::poll(&source, 1, 0) > 0;
}

base::Result<Listing> list_files(const Hub& hub, const Reference& reference, const Stop& stop,
                                 const std::function<void(std::string)>& say) {
    Asker asker(hub, reference, stop, say);
    return hub.kind == Hub::Kind::modelscope ? list_modelscope(asker, hub, reference)
                                             : list_hugging_face(asker, hub, reference);
}

bool is_transient(const Outcome& outcome) {
    switch (outcome.failure) {
        case Failure::none: {
            const int status = outcome.head.status;
            return status == 408 || status == 429 || (status >= 500 && status <= 599);
        }
        case Failure::lookup:
        case Failure::connect:
        case Failure::stalled:
        case Failure::broken:
            return true;
        default:
            return false;
    }
}

Error explain(const Hub& hub, const Reference& reference, const Outcome& outcome,
              std::string_view subject) {
    const auto because = [&](Code code, std::string_view what, std::string_view next) {
        return Error{code, fmt::format("{}: {}\n  next: {}", what, outcome.reason, next)};
    };
    switch (outcome.failure) {
        case Failure::none:
            return {code_of(outcome.head.status),
                    explain_status(hub, reference, outcome.head, subject)};
        case Failure::lookup:
            return because(Code::unavailable, "the name of the hub has no address here",
                           "check the network, HF_ENDPOINT, and https_proxy behind a proxy");
        case Failure::connect:
            return because(Code::unavailable, fmt::format("no connection for {}", subject),
                           "check the network, HF_ENDPOINT, and https_proxy behind a proxy");
        case Failure::tls:
            return because(Code::unavailable, fmt::format("no trusted connection for {}", subject),
                           "check the clock; SSL_CERT_FILE names further trusted certificates");
        case Failure::redirects:
            return because(Code::corrupt, fmt::format("redirects for {} lead nowhere", subject),
                           "check HF_ENDPOINT");
        case Failure::stalled:
            return because(Code::unavailable, fmt::format("{} came to a standstill", subject),
                           "run it again; what has come is kept");
        default:
            return because(Code::unavailable, fmt::format("the transfer of {} broke", subject),
                           "run it again; what has come is kept");
    }
}

}  // namespace holdfast::hub
