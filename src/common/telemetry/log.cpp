#include "common/telemetry/log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/sinks/sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "common/base/unique_fd.h"
#include "common/telemetry/printable.h"

namespace holdfast::telemetry {

namespace {

constexpr std::array<std::pair<std::string_view, spdlog::level::level_enum>, 5> levels{
    {{"trace", spdlog::level::trace},
     {"debug", spdlog::level::debug},
     {"info", spdlog::level::info},
     {"warning", spdlog::level::warn},
     {"error", spdlog::level::err}}};

std::string render_line(std::chrono::system_clock::time_point time, spdlog::level::level_enum level,
                        std::string_view role, std::string_view message) {
    const auto since =
        std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    std::string line = fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z {} {}: ",
                                   fmt::gmtime(static_cast<std::time_t>(seconds.count())),
                                   (since - seconds).count(), log_level_name(level), role);
    append_printable(line, message, Log::line_bytes_max - 1);
    line += '\n';
    return line;
}

}  // namespace

std::string_view log_level_name(spdlog::level::level_enum level) {
    for (const auto& [text, known] : levels) {
        if (known == level) return text;
    }
    return "critical";
}

base::Result<spdlog::level::level_enum> parse_log_level(std::string_view text) {
    for (const auto& [name, level] : levels) {
        if (name == text) return level;
    }
    return base::fail(base::Code::invalid,
                      "log level \"{}\" is none of trace, debug, info, warning, error", text);
}

// The queue and its writer. The writer holds a reference of its own, so that a destructor that
// gave up on a blocked target leaves nothing dangling behind.
class Log::Sink final : public spdlog::sinks::sink, public std::enable_shared_from_this<Sink> {
public:
    explicit Sink(LogOptions options)
        : options_(std::move(options)), target_(::fcntl(options_.fd, F_DUPFD_CLOEXEC, 3)) {}

    void start() {
        writer_ = std::thread([self = shared_from_this()] { self->write_until_stopped(); });
    }

    void log(const spdlog::details::log_msg& message) override {
        push(render_line(message.time, message.level, options_.role,
                         {message.payload.data(), message.payload.size()}));
    }

    bool flush_within(std::chrono::milliseconds wait) {
        std::unique_lock lock(mutex_);
        return idle_.wait_for(lock, wait, [this] { return lines_.empty() && !writing_; });
    }

    void stop() {
        {
            std::unique_lock lock(mutex_);
            stopping_ = true;
            wake_.notify_one();
            idle_.wait_for(lock, options_.close_ms_max, [this] { return stopped_; });
        }
        // A write may block although poll(2) found room: other processes share the pipe.
        const std::unique_lock lock(mutex_);
        stopped_ ? writer_.join() : writer_.detach();
    }

    std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

    void flush() override {}
    void set_pattern(const std::string&) override {}
    void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

private:
    void push(std::string line) {
        const std::unique_lock lock(mutex_);
        if (bytes_ + line.size() > options_.queue_bytes_max) {
            dropped_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        bytes_ += line.size();
        lines_.push_back(std::move(line));
        wake_.notify_one();
    }

    void write_until_stopped() {
        // Signals belong to the event loops; SIGPIPE of a reader that left must not end the
        // process.
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);

        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return stopping_ || !lines_.empty(); });
            if (lines_.empty()) break;
            std::string line = std::move(lines_.front());
            lines_.pop_front();
            bytes_ -= line.size();
            writing_ = true;
            lock.unlock();
            if (!write_line(line)) dropped_.fetch_add(1, std::memory_order_relaxed);
            tell_drops();
            lock.lock();
            writing_ = false;
            if (lines_.empty()) idle_.notify_all();
        }
        stopped_ = true;
        idle_.notify_all();
    }

    bool write_line(std::string_view line) {
        pollfd target{.fd = target_.get(), .events = POLLOUT, .revents = 0};
        while (!line.empty()) {
            if (::poll(&target, 1, -1) < 0 && errno != EINTR) return false;
            const ssize_t written = ::write(target_.get(), line.data(), line.size());
            if (written < 0 && errno != EINTR && errno != EAGAIN) return false;
            if (written > 0) line.remove_prefix(static_cast<std::size_t>(written));
        }
        return true;
    }

    void tell_drops() {
        const std::uint64_t dropped = this->dropped();
        if (dropped == told_) return;
        const std::string line =
            render_line(std::chrono::system_clock::now(), spdlog::level::warn, options_.role,
                        fmt::format("{} log lines dropped", dropped - told_));
        if (write_line(line)) told_ = dropped;
    }

    const LogOptions options_;
    const base::UniqueFd target_;  // our own, as a writer left behind outlives the caller's
    std::thread writer_;
    std::atomic<std::uint64_t> dropped_{0};
    std::uint64_t told_ = 0;  // writer only
    std::mutex mutex_;        // guards what follows
    std::condition_variable wake_, idle_;
    std::deque<std::string> lines_;
    std::size_t bytes_ = 0;
    bool writing_ = false, stopping_ = false, stopped_ = false;
};

Log::Log(const LogOptions& options)
    : sink_(std::make_shared<Sink>(options)), previous_(spdlog::default_logger()) {
    sink_->start();
    auto logger = std::make_shared<spdlog::logger>("", sink_);
    logger->set_level(options.level);
    spdlog::set_default_logger(std::move(logger));
}

Log::~Log() {
    spdlog::set_default_logger(previous_);
    sink_->stop();
}

std::uint64_t Log::dropped_lines() const { return sink_->dropped(); }

void Log::add_metrics(Registry& registry) const {
    Gauge& dropped = registry.mirrored_counter("holdfast_log_dropped_lines_total",
                                               "Log lines that the target did not take in time.");
    registry.on_collect([this, &dropped] { dropped.set(static_cast<double>(dropped_lines())); });
}

bool Log::flush(std::chrono::milliseconds wait) { return sink_->flush_within(wait); }

}  // namespace holdfast::telemetry
