#include "service/keeper/keeper.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/seconds.h"
#include "service/keeper/process.h"

namespace holdfast::keeper {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A wake-up that comes later than this means that the machine stood still.
constexpr base::Duration late_max = seconds(1);
constexpr base::Duration status_line_every = milliseconds(500);
constexpr int messages_per_turn = 256;  // nobody can keep the keeper reading for ever

std::string pause_text(base::Duration pause) {
    return fmt::format("{} ms", duration_cast<milliseconds>(pause).count());
}

// How often a systemd that watches the keeper hears of it.
base::Duration system_tick() {
    constexpr base::Duration usual = seconds(5);
    const auto interval = base::watchdog_interval();
    return interval ? std::clamp<base::Duration>(*interval / 4, milliseconds(1), usual) : usual;
}

}  // namespace

struct Keeper::Slot {
    std::string name;                    // "gateway", "worker a": for people
    const WorkerPlan* worker = nullptr;  // none for the gateway
    Child child;
    LogFile log;
    std::string last_end;  // how its last process ended, and the last thing that it logged
    std::string status_said;
    base::Instant status_said_at{};
};

base::Result<std::unique_ptr<Keeper>> Keeper::make(Options options, StateFolder folder,
                                                   base::UniqueFd listener, int console,
                                                   const base::Clock& clock,
                                                   base::Entropy& entropy) {
    HF_TRY_ASSIGN(auto notify, NotifySocket::open(folder.usable() ? folder.notify_path() : ""));
    return std::unique_ptr<Keeper>(new Keeper(std::move(options), std::move(folder),
                                              std::move(listener), std::move(notify), console,
                                              clock, entropy));
}

Keeper::Keeper(Options options, StateFolder folder, base::UniqueFd listener, NotifySocket notify,
               int console, const base::Clock& clock, base::Entropy& entropy)
    : options_(std::move(options)),
      folder_(std::move(folder)),
      listener_(std::move(listener)),
      notify_(std::move(notify)),
      system_(base::Notifier::from_environment()),
      console_(console),
      clock_(clock),
      entropy_(entropy),
      tick_every_(system_tick()) {
    const auto add = [this](std::string name, const std::string& file, const WorkerPlan* worker) {
        slots_.push_back(std::make_unique<Slot>(Slot{std::move(name),
                                                     worker,
                                                     Child(options_.limits),
                                                     LogFile(folder_.log_path(file), options_.logs),
                                                     {},
                                                     {}}));
    };
    add("gateway", "gateway", nullptr);
    for (const WorkerPlan& worker : options_.workers)
        add("worker " + worker.id, "worker-" + worker.id, &worker);
}

Keeper::~Keeper() = default;

template <class... Args>
void Keeper::say(fmt::format_string<Args...> format, Args&&... args) {
    console_.line("holdfast: " + fmt::format(format, std::forward<Args>(args)...));
}

void Keeper::warn_once(bool& warned, const std::string& text) {
    if (!std::exchange(warned, true)) say("warning: {}", text);
}

double Keeper::jitter() { return static_cast<double>(entropy_.next() >> 11) * 0x1p-53; }

int Keeper::run() {
    if (const auto watching = watch_signals(); !watching) {
        say("{}", watching.error().what);
        return 1;
    }
    if (!folder_.usable()) warn_once(log_warned_, folder_.trouble() + "; there are no logs");
    began_ = tick_at_ = clock_.now();
    while (!all_stopped()) {
        step(clock_.now());
        if (all_stopped()) break;
        wait(clock_.now());
        // Before any time-out is judged, everything that was said in time is heard.
        read_notifications();
        read_signals();
        reap();
    }
    say("stopped");
    return 0;
}

base::Result<> Keeper::watch_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGCHLD}) ::sigaddset(&set, number);
    // nohup ignores SIGHUP so that the service outlives its terminal.
    struct sigaction hangup = {};
    ::sigaction(SIGHUP, nullptr, &hangup);
    if (hangup.sa_handler != SIG_IGN) ::sigaddset(&set, SIGHUP);
    ::signal(SIGPIPE, SIG_IGN);  // the console may be a pipe whose reader has gone
    signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_ || ::sigprocmask(SIG_BLOCK, &set, nullptr) != 0)
        return base::fail(base::Code::internal, "cannot watch signals: {}", std::strerror(errno));
    return {};
}

// Brings the world in line with the time: starts, kills, tells.
void Keeper::step(base::Instant now) {
    if (woken_late_)
        for (const auto& slot : slots_) slot->child.forgive(*woken_late_);
    woken_late_.reset();
    advance_drain(now);
    for (const auto& slot : slots_) obey(*slot, now);
    roster_channel_.send(roster());
    announce_if_ready();
    if (now >= tick_at_) tick(now);
}

void Keeper::obey(Slot& slot, base::Instant now) {
    switch (slot.child.next(now)) {
        case Child::Command::none:
            return;
        case Child::Command::start:
            start(slot, now);
            return;
        case Child::Command::terminate:
            ::kill(slot.child.pid(), SIGTERM);
            return;
        case Child::Command::kill:
            if (stop_signals_ < 2)
                say("{} (process {}): {}; killing it", slot.name, slot.child.pid(),
                    slot.child.kill_reason());
            ::kill(slot.child.pid(), SIGKILL);
            return;
    }
}

void Keeper::start(Slot& slot, base::Instant now) {
    const auto pid = launch_slot(slot);
    if (pid) {
        slot.child.started(*pid, now);
        slot.status_said.clear();
        return;
    }
    slot.child.exited(now, jitter());
    say("{}: {}; trying again in {}", slot.name, pid.error().what,
        pause_text(slot.child.pause(now)));
}

base::Result<int> Keeper::launch_slot(Slot& slot) {
    const auto watchdog = duration_cast<microseconds>(options_.limits.silence_max).count();
    const base::UniqueFd log = open_log(slot);
    Launch plan{.program = options_.program,
                .environment = {"NOTIFY_SOCKET=" + notify_.address(),
                                fmt::format("WATCHDOG_USEC={}", watchdog)},
                .output = log.get()};
    if (slot.worker != nullptr) {
        plan.arguments = slot.worker->arguments;
        plan.oom_score = 300;  // a worker can be replaced without anybody noticing
        return launch(plan);
    }
    HF_TRY_ASSIGN(const base::UniqueFd roster_end, roster_channel_.renew());
    plan.arguments = options_.gateway_arguments;
    plan.listener = listener_.get();
    plan.roster = roster_end.get();
    plan.oom_score = 100;
    return launch(plan);
}

// Without a log the child writes to nowhere: serving matters more.
base::UniqueFd Keeper::open_log(Slot& slot) {
    if (!folder_.usable()) return {};
    auto file = slot.log.open();
    if (file) return *std::move(file);
    warn_once(log_warned_, file.error().what + "; there are no logs");
    return {};
}

base::Deadline Keeper::next_wake() const {
    base::Deadline wake(tick_at_);
    for (const auto& slot : slots_) wake = wake.sooner(slot->child.wake());
    return wake;
}

void Keeper::wait(base::Instant now) {
    const auto planned = next_wake();
    // Rounded up: a time-out must have passed when it is judged.
    const auto timeout = duration_cast<milliseconds>(planned.left(now)) + milliseconds(1);
    std::array<pollfd, 3> sources{pollfd{signals_.get(), POLLIN, 0},
                                  pollfd{notify_.fd(), POLLIN, 0}, pollfd{-1, POLLOUT, 0}};
    if (roster_channel_.waits_for_room()) sources[2].fd = roster_channel_.fd();
    ::poll(sources.data(), sources.size(), static_cast<int>(timeout.count()));
    const auto woken = clock_.now();
    if (woken - planned.at() > late_max) woken_late_ = woken;
}

void Keeper::read_notifications() {
    const auto now = clock_.now();
    for (int i = 0; i < messages_per_turn; ++i) {
        const auto message = notify_.receive();
        if (!message) return;
        for (const auto& slot : slots_) {
            Child& child = slot->child;
            if (message->pid == 0 || message->pid != child.pid()) continue;
            const auto before = child.phase();
            child.heard(parse_notification(message->text), now);
            if (child.phase() == Phase::running && before == Phase::starting)
                say("{} (process {}) is ready", slot->name, child.pid());
            const bool is_news = child.phase() == Phase::starting &&
                                 child.status() != slot->status_said &&
                                 now - slot->status_said_at >= status_line_every;
            if (!is_news) continue;
            slot->status_said = child.status();
            slot->status_said_at = now;
            say("{}: {}", slot->name, child.status());
        }
    }
}

void Keeper::read_signals() {
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) continue;
        ++stop_signals_;
        begin_drain();
    }
}

// Also takes away what the kernel hands to process 1 of a container.
void Keeper::reap() {
    while (true) {
        int status = 0;
        const pid_t pid = ::waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR) continue;
        if (pid <= 0) return;
        for (const auto& slot : slots_)
            if (slot->child.pid() == pid) buried(*slot, pid, status);
    }
}

void Keeper::buried(Slot& slot, int pid, int status) {
    const auto now = clock_.now();
    if (slot.worker == nullptr) roster_channel_.close();
    slot.child.exited(now, jitter());
    const auto last = folder_.usable() ? slot.log.last_line() : std::string();
    slot.last_end = describe_exit(status);
    // Who is killed says nothing about it.
    if (WIFEXITED(status) && !last.empty()) slot.last_end += ": " + last;
    const bool for_good = slot.child.phase() == Phase::stopped;
    if (for_good && (WIFEXITED(status) ? WEXITSTATUS(status) == 0 : stop_signals_ > 1)) return;
    std::string text = fmt::format("{} (process {}) {}", slot.name, pid, describe_exit(status));
    if (!for_good)
        text += fmt::format("; starting it again in {}", pause_text(slot.child.pause(now)));
    if (!last.empty()) text += fmt::format("; its last log line: {}", last);
    say("{}", text);
}

void Keeper::begin_drain() {
    const auto now = clock_.now();
    if (stop_signals_ > 1) {
        for (const auto& slot : slots_) slot->child.stop(now, base::Duration::zero());
        stage_ = Stage::draining_workers;
        return;
    }
    system_.send("STOPPING=1");
    say("stopping: running answers have {:g} s to end; a second signal stops at once",
        base::seconds(options_.limits.drain_max));
    stage_ = Stage::draining_gateway;
    slots_[0]->child.stop(now, options_.limits.drain_max + options_.limits.leave_max);
}

// Workers go on, and are even restarted, until the gateway has ended its last answer.
void Keeper::advance_drain(base::Instant now) {
    if (stage_ != Stage::draining_gateway || slots_[0]->child.phase() != Phase::stopped) return;
    stage_ = Stage::draining_workers;
    for (std::size_t i = 1; i < slots_.size(); ++i)
        slots_[i]->child.stop(now, options_.limits.leave_max);
}

bool Keeper::all_stopped() const {
    return std::ranges::all_of(
        slots_, [](const auto& slot) { return slot->child.phase() == Phase::stopped; });
}

std::string Keeper::roster() const {
    // Reasons have half of a packet: the rest is room for the list itself.
    std::size_t reasons_left = upstream::roster_bytes_max / 2;
    std::string out;
    for (const auto& slot : slots_) {
        if (slot->worker == nullptr) continue;
        const bool fits = slot->last_end.size() <= reasons_left;
        if (fits) reasons_left -= slot->last_end.size();
        const std::string reason = fits ? slot->last_end : std::string();
        upstream::append_roster_line(out, roster_entry(slot->worker->id, slot->child, reason));
    }
    return out;
}

// Once, as soon as the gateway and an instance are ready and the others are or have failed.
void Keeper::announce_if_ready() {
    if (announced_ || stage_ != Stage::serving || slots_[0]->child.phase() != Phase::running)
        return;
    std::size_t running = options_.external_instances;
    for (std::size_t i = 1; i < slots_.size(); ++i) {
        const Child& child = slots_[i]->child;
        if (child.phase() == Phase::running) ++running;
        if (child.phase() != Phase::running && child.deaths() == 0) return;
    }
    if (running == 0) return;
    announced_ = true;
    system_.send("READY=1");
    const auto model = options_.workers.empty() ? std::string("MODEL") : options_.workers[0].model;
    say("ready on {} ({})", options_.url, instances_text());
    console_.line(
        fmt::format("  curl {}/v1/chat/completions -H 'content-type: application/json' \\\n"
                    "    -d '{{\"model\":\"{}\",\"messages\":[{{\"role\":\"user\","
                    "\"content\":\"Hello\"}}]}}'",
                    options_.url, model));
}

// "2 instances of tiny-r1, 1 of 2 instances of other, 1 external instance"
std::string Keeper::instances_text() const {
    std::vector<std::string> parts;
    std::vector<std::string_view> told;
    const auto plural = [](std::size_t count) { return count == 1 ? "" : "s"; };
    for (const WorkerPlan& plan : options_.workers) {
        if (std::ranges::find(told, plan.model) != told.end()) continue;
        told.push_back(plan.model);
        std::size_t all = 0, running = 0;
        for (const auto& slot : slots_) {
            if (slot->worker == nullptr || slot->worker->model != plan.model) continue;
            ++all;
            running += slot->child.phase() == Phase::running ? 1 : 0;
        }
        const auto some = running < all ? fmt::format("{} of ", running) : std::string();
        parts.push_back(fmt::format("{}{} instance{} of {}", some, all, plural(all), plan.model));
    }
    if (const auto count = options_.external_instances; count > 0)
        parts.push_back(fmt::format("{} external instance{}", count, plural(count)));
    return fmt::format("{}", fmt::join(parts, ", "));
}

// What is done every few seconds whatever happens.
void Keeper::tick(base::Instant now) {
    tick_at_ = now + tick_every_;
    if (folder_.usable()) {
        for (const auto& slot : slots_) slot->log.check();
        if (folder_.is_full())
            warn_once(full_warned_, "the disk of the state folder is full; logs are dropped");
    }
    if (!system_.active()) return;
    std::string news = fmt::format("WATCHDOG=1\nSTATUS={}", instances_text());
    // A model may load for longer than systemd waits; it may as long as start_max allows.
    if (!announced_ && now - began_ < options_.limits.start_max)
        news += fmt::format("\nEXTEND_TIMEOUT_USEC={}",
                            duration_cast<microseconds>(seconds(30)).count());
    system_.send(news);
}

}  // namespace holdfast::keeper
