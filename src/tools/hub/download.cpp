#include "tools/hub/download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>

#include "common/base/unique_fd.h"
#include "tools/hub/part.h"
#include "tools/hub/progress.h"

namespace holdfast::hub {
namespace {

using base::Code;
using base::Error;
using base::fail;
using base::Instant;
using std::chrono::milliseconds;

struct FileState {
    FileState(const Wanted& what, Part&& begun) : wanted(what), part(std::move(begun)) {}
    const Wanted& wanted;
    Part part;
    // In one piece from the first byte, because it is small or the server ignores ranges.
    bool whole = part.size() <= block_bytes;
    bool taken = false;   // a lane has the whole
    bool closed = false;  // complete, and given to the check
};

// One transfer after the other: a run of blocks of a file, or the whole of it. Blocks are written
// when they are complete; a retry goes on at the very byte.
class Lane final : public Sink {
public:
    // What was wrong with the answer itself, so that no retry makes sense.
    std::optional<Error> error;
    bool ranges_ignored = false;
    int failures = 0;  // since the last block
    Instant due{};     // not to be started before

    bool idle() const { return file_ == nullptr; }
    bool running() const { return running_; }
    FileState* file() const { return file_; }
    bool complete() const { return position_ == end_; }
    std::uint64_t buffered() const { return block_.size(); }

    void assign(FileState& file, Part::Run run) {
        file_ = &file;
        run_ = run;
        whole_ = file.whole;
        position_ = run.begin * block_bytes;
        end_ = run.end == 0 ? 0 : file.part.end_of(run.end - 1);
        block_.clear();
        failures = 0;
        due = Instant{};
    }

    Fetch fetch(const std::string& token) {
        running_ = true;
        ranges_ignored = false;
        if (whole_) {
            position_ = 0;
            block_.clear();
        }
        Fetch fetch{.url = file_->wanted.url, .token = token, .range = {}};
        if (!whole_) fetch.range = Fetch::Range{position_, end_};
        return fetch;
    }

    void ended() { running_ = false; }

    void let_go() {
        if (whole_) {
            file_->taken = false;
        } else {
            file_->part.release(run_);
        }
        block_.clear();
        file_ = nullptr;
    }

    bool begin(const Head& head) override {
        const auto& [path, size, checksum] = file_->wanted.file;
        if (head.status != 200 && head.status != 206) return false;
        if (head.status == 200 && !whole_) {
            ranges_ignored = true;
            return false;
        }
        const auto offered = head.status == 206
                                 ? (head.content_range ? head.content_range->total : std::nullopt)
                                 : head.content_length;
        const bool is_page = head.content_type.starts_with("text/html") && !path.ends_with(".html");
        if (is_page && offered != size)
            return refuse(
                "{} gives a web page where {} was due; a proxy or a login page may stand "
                "in between\n  next: check HF_ENDPOINT and the proxy",
                head.host, path);
        if (offered && *offered != size)
            return refuse(
                "{} offers {} bytes of {}, and the list said {}: the file has changed, "
                "or the mirror is out of step\n  next: run it again",
                head.host, *offered, path, size);
        const bool is_other = head.status == 206 && (whole_ || !head.content_range ||
                                                     head.content_range->begin != position_);
        if (is_other)
            return refuse(
                "{} gives another part of {} than it was asked for\n  next: check "
                "HF_ENDPOINT; a proxy may do this",
                head.host, path);
        return true;
    }

    bool take(std::span<const std::byte> bytes) override {
        while (!bytes.empty()) {
            if (position_ >= end_)
                return refuse(
                    "the server sends more of {} than it was asked for\n  next: check "
                    "HF_ENDPOINT; a proxy may do this",
                    file_->wanted.file.path);
            const auto block = position_ / block_bytes;
            const auto count =
                std::min<std::uint64_t>(bytes.size(), file_->part.end_of(block) - position_);
            block_.insert(block_.end(), bytes.begin(),
                          bytes.begin() + static_cast<std::ptrdiff_t>(count));
            bytes = bytes.subspan(count);
            position_ += count;
            if (position_ == file_->part.end_of(block) && !finish(block)) return false;
        }
        return true;
    }

private:
    template <class... Args>
    bool refuse(fmt::format_string<Args...> format, Args&&... args) {
        error = Error{Code::corrupt, fmt::format(format, std::forward<Args>(args)...)};
        return false;
    }

    bool finish(std::uint64_t block) {
        if (!file_->part.has(block)) failures = 0;
        if (auto written = file_->part.write(block, block_); !written) {
            error = std::move(written).error();
            return false;
        }
        block_.clear();
        return true;
    }

    FileState* file_ = nullptr;
    Part::Run run_;
    bool whole_ = false, running_ = false;
    std::uint64_t position_ = 0, end_ = 0;
    std::vector<std::byte> block_;
};

// Puts a complete file on the disk, compares size and checksum, and moves it to its place.
base::Result<> check_and_move(const Part& part, const RemoteFile& file, const std::string& target,
                              const std::function<bool()>& stop) {
    const base::UniqueFd data(::open(part.data_path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!data || ::fsync(data.get()) != 0)
        return fail(Code::internal, "cannot save {}: {}", part.data_path(), std::strerror(errno));
    if (file.checksum.kind != Checksum::Kind::none) {
        Digest digest(file.checksum.kind, file.size);
        std::vector<std::byte> bytes(block_bytes);
        while (true) {
            if (stop()) return fail(Code::cancelled, "interrupted");
            const ssize_t count = ::read(data.get(), bytes.data(), bytes.size());
            if (count < 0 && errno == EINTR) continue;
            if (count < 0)
                return fail(Code::internal, "cannot read {}: {}", part.data_path(),
                            std::strerror(errno));
            if (count == 0) break;
            digest.add(std::span(bytes).first(static_cast<std::size_t>(count)));
        }
        if (const auto actual = digest.hex(); actual != file.checksum.hex) {
            part.remove();
            return fail(Code::corrupt,
                        "{} has the wrong {} checksum: {} came, the hub lists {}; the bad file was "
                        "thrown away\n  next: run it again; if this comes back, the hub or the "
                        "mirror has a damaged file, or something in between changes data",
                        file.path, name(file.checksum.kind), actual, file.checksum.hex);
        }
    }
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(target).parent_path(), error);
    if (::rename(part.data_path().c_str(), target.c_str()) != 0)
        return fail(Code::internal, "cannot move {} to {}: {}", part.data_path(), target,
                    std::strerror(errno));
    part.remove_journal();
    return {};
}

class Download {
public:
    Download(const Hub& hub, const Reference& reference, const DownloadPlan& plan, const Stop& stop,
             const Watcher& watcher, const base::Clock& clock)
        : hub_(hub),
          reference_(reference),
          plan_(plan),
          stop_(stop),
          watcher_(watcher),
          clock_(clock),
          transfers_(hub.transfer),
          lanes_(static_cast<std::size_t>(plan.jobs)) {}

    ~Download() { abandon_ = true; }  // before the checks are waited for

    base::Result<> run() {
        HF_TRY(take_up());
        while (progress_.files_done < progress_.files_total) {
            if (stop_.requested()) return fail(Code::cancelled, "interrupted");
            HF_TRY(close_complete());
            start_lanes();
            for (const Outcome& outcome : transfers_.wait(wait_max(), stop_.fd()))
                HF_TRY(settle(outcome));
            report();
        }
        return {};
    }

private:
    // A file that is being checked in a thread of its own.
    struct Check {
        FileState* file;
        std::future<base::Result<>> result;
    };

    std::string target_of(const RemoteFile& file) const { return plan_.folder + "/" + file.path; }

    base::Result<> take_up() {
        progress_.files_total = plan_.files.size();
        for (const Wanted& wanted : plan_.files) {
            progress_.bytes_total += wanted.file.size;
            struct stat info = {};
            const auto target = target_of(wanted.file);
            if (::lstat(target.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
                static_cast<std::uint64_t>(info.st_size) == wanted.file.size) {
                ++progress_.files_done;
                settled_bytes_ += wanted.file.size;
                continue;
            }
            const auto path = part_path(plan_.parts, wanted.file);
            if (wanted.file.checksum.kind == Checksum::Kind::none) {
                ::unlink((path + ".data").c_str());
                ::unlink((path + ".blocks").c_str());
            }
            HF_TRY_ASSIGN(Part part,
                          Part::open(path, wanted.file.size, [this] { return stop_.requested(); }));
            missing_blocks_ += (part.size() - part.bytes_done() + block_bytes - 1) / block_bytes;
            files_.emplace_back(wanted, std::move(part));
        }
        progress_.bytes_before = bytes_done();
        report();
        return check_room();
    }

    base::Result<> check_room() const {
        struct statvfs info = {};
        if (::statvfs(plan_.parts.c_str(), &info) != 0) return {};
        const auto free = std::uint64_t{info.f_bavail} * info.f_frsize;
        const auto missing = progress_.bytes_total - progress_.bytes_before;
        if (missing <= free) return {};
        return fail(Code::overloaded, "{} are to come, and {} has room for {}",
                    format_size(missing), plan_.parts, format_size(free));
    }

    std::uint64_t bytes_done() const {
        auto bytes = settled_bytes_;
        for (const FileState& file : files_) bytes += file.part.bytes_done();
        for (const Lane& lane : lanes_) bytes += lane.buffered();
        return std::min(bytes, progress_.bytes_total);
    }

    void report(std::string finished = {}) {
        progress_.bytes_done = bytes_done();
        progress_.finished = std::move(finished);
        if (watcher_.progress) watcher_.progress(progress_);
    }

    // Gives complete files to their check, at most as many at once as there may be transfers, and
    // takes the results.
    base::Result<> close_complete() {
        for (FileState& file : files_) {
            if (file.closed || !file.part.complete() || checks_.size() >= lanes_.size()) continue;
            file.closed = true;
            const auto stopped = [this] { return abandon_ || stop_.requested(); };
            checks_.push_back({&file, std::async(std::launch::async, [this, &file, stopped] {
                                   return check_and_move(file.part, file.wanted.file,
                                                         target_of(file.wanted.file), stopped);
                               })});
        }
        for (auto check = checks_.begin(); check != checks_.end();) {
            if (check->result.wait_for(milliseconds(0)) != std::future_status::ready) {
                ++check;
                continue;
            }
            HF_TRY(check->result.get());
            ++progress_.files_done;
            report(check->file->wanted.file.path);
            check = checks_.erase(check);
        }
        return {};
    }

    // The first file with something left that no lane has yet.
    bool find_work(Lane& lane) {
        const auto share = (missing_blocks_ + lanes_.size() - 1) / lanes_.size();
        const auto blocks = std::clamp<std::uint64_t>(share, run_blocks_min, run_blocks_max);
        for (FileState& file : files_) {
            if (file.closed || file.part.complete() || file.taken) continue;
            if (file.whole) {
                file.taken = true;
                lane.assign(file, {0, file.part.blocks()});
                return true;
            }
            if (const auto run = file.part.claim(blocks)) {
                lane.assign(file, *run);
                return true;
            }
        }
        return false;
    }

    void start_lanes() {
        const auto now = clock_.now();
        if (now < pause_until_) return;
        for (Lane& lane : lanes_) {
            if (lane.running() || now < lane.due) continue;
            if (lane.idle() && !find_work(lane)) continue;
            transfers_.start(lane.fetch(hub_.token), lane);
        }
    }

    // Short while something else than a transfer is awaited: the end of a pause or of a check.
    milliseconds wait_max() const {
        const bool pausing = std::ranges::any_of(
            lanes_, [](const Lane& lane) { return !lane.idle() && !lane.running(); });
        return milliseconds(pausing || !checks_.empty() ? 20 : 200);
    }

    base::Result<> settle(const Outcome& outcome) {
        Lane& lane = static_cast<Lane&>(*outcome.sink);
        lane.ended();
        if (lane.error) return std::unexpected(*std::move(lane.error));
        if (lane.ranges_ignored) {
            FileState& file = *lane.file();
            if (!file.whole && watcher_.say)
                watcher_.say(
                    fmt::format("{} ignores ranges: {} comes in one piece, from its "
                                "beginning",
                                outcome.head.host, file.wanted.file.path));
            lane.let_go();
            file.whole = true;
            return {};
        }
        const bool is_data = outcome.head.status == 200 || outcome.head.status == 206;
        if (outcome.failure == Failure::none && is_data && lane.complete()) {
            lane.let_go();
            return {};
        }
        return retry(lane, outcome);
    }

    base::Result<> retry(Lane& lane, Outcome outcome) {
        const auto& path = lane.file()->wanted.file.path;
        const bool is_data = outcome.head.status == 200 || outcome.head.status == 206;
        if (outcome.failure == Failure::stopped) outcome.failure = Failure::none;
        if (outcome.failure == Failure::none && is_data) {
            outcome.failure = Failure::broken;
            outcome.reason = "the connection was closed before the end";
        }
        // Addresses that a hub redirects to are valid for a while only.
        const bool may_have_expired = outcome.failure == Failure::none &&
                                      outcome.head.status == 403 &&
                                      outcome.head.host != origin_of(hub_.endpoint);
        auto error = explain(hub_, reference_, outcome, path);
        ++lane.failures;
        if ((!is_transient(outcome) && !may_have_expired) ||
            lane.failures >= hub_.retry.attempts_max)
            return std::unexpected(std::move(error));
        const auto pause = hub_.retry.pause(lane.failures, outcome.head);
        lane.due = clock_.now() + pause;
        if (outcome.head.retry_after) pause_until_ = std::max(pause_until_, lane.due);
        if (watcher_.say)
            watcher_.say(fmt::format("{}; trying again in {:.1f} s",
                                     error.what.substr(0, error.what.find('\n')),
                                     static_cast<double>(pause.count()) / 1000));
        return {};
    }

    // A run is what one request asks for: long enough that the hub is asked seldom, short enough
    // that all lanes have work.
    static constexpr std::uint64_t run_blocks_min = 4, run_blocks_max = 128;

    const Hub& hub_;
    const Reference& reference_;
    const DownloadPlan& plan_;
    const Stop& stop_;
    const Watcher& watcher_;
    const base::Clock& clock_;
    std::deque<FileState> files_;
    std::uint64_t settled_bytes_ = 0, missing_blocks_ = 0;
    Progress progress_;
    Instant pause_until_{};
    std::atomic<bool> abandon_ = false;
    Transfers transfers_;
    std::vector<Lane> lanes_;
    std::vector<Check> checks_;
};

}  // namespace

std::string part_path(const std::string& folder, const RemoteFile& file) {
    // With the path, so that two files of equal content are not in each other's way.
    return fmt::format("{}/{}-{}-{}-{}", folder, name(file.checksum.kind), file.checksum.hex,
                       file.size, sha256_hex(file.path).substr(0, 8));
}

base::Result<> download(const Hub& hub, const Reference& reference, const DownloadPlan& plan,
                        const Stop& stop, const Watcher& watcher, const base::Clock& clock) {
    return Download(hub, reference, plan, stop, watcher, clock).run();
}

}  // namespace holdfast::hub
