// These tests run a real keeper in a process of its own, with real children
// (testing/fake_child.cpp).
#include "service/keeper/keeper.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "common/base/test_folder.h"

namespace holdfast::keeper {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::HasSubstr;
using testing::Not;

// Only so that a broken keeper fails its test instead of stopping the run.
constexpr int guard_ms = 60'000;

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

base::UniqueFd listen_anywhere() {
    base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(fd.get(), 16), 0);
    return fd;
}

Options usual_options() {
    Options options;
    options.program = HOLDFAST_FAKE_CHILD;
    options.gateway_arguments = {"gateway"};
    options.workers = {{"a", "tiny", {"worker"}}, {"b", "tiny", {"worker"}}};
    options.url = "http://127.0.0.1:1";
    options.limits.backoff_first = milliseconds(20);
    options.limits.leave_max = milliseconds(100);
    return options;
}

// A keeper in a process of its own, and its console.
class Service {
public:
    explicit Service(Options options, const std::string& state = {})
        : state_(state.empty() ? folder_.path() : state) {
        std::array<int, 2> pipe{};
        EXPECT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
        listener_ = listen_anywhere();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(pipe[0]);
            serve(std::move(options), pipe[1]);
        }
        ::close(pipe[1]);
        console_.reset(pipe[0]);
    }
    ~Service() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }

    // Reads lines until one contains `text`; all lines are kept in `said`.
    std::string wait_for(std::string_view text) {
        while (true) {
            auto line = next_line();
            if (line.empty()) {
                ADD_FAILURE() << "the console ended before: " << text << "\n" << said;
                return {};
            }
            if (line.find(text) != line.npos) return line;
        }
    }
    // The process number in the line that contains `text`.
    int wait_for_process(std::string_view text) {
        std::smatch match;
        const std::string line = wait_for(text);
        return std::regex_search(line, match, std::regex("process ([0-9]+)")) ? std::stoi(match[1])
                                                                              : -1;
    }
    void signal(int number) const { EXPECT_EQ(::kill(pid_, number), 0); }
    // Reads the console to its end and returns the exit code.
    int wait_exit() {
        while (!next_line().empty()) {
        }
        int status = 0;
        EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    int stop() {
        signal(SIGTERM);
        return wait_exit();
    }
    std::string log(const std::string& name) const {
        return read_file(state_ + "/logs/" + name + ".log");
    }
    const std::string& state() const { return state_; }
    int listener() const { return listener_.get(); }
    void close_console() { console_.reset(); }

    std::string said;

private:
    [[noreturn]] void serve(Options options, int console) {
        ::dup2(console, 9);  // a file that the children must not get
        base::SystemClock clock;
        base::SystemEntropy entropy;
        auto folder = StateFolder::open(state_);
        if (!folder) ::_exit(98);
        auto keeper = Keeper::make(std::move(options), *std::move(folder), std::move(listener_),
                                   console, clock, entropy);
        ::_exit(keeper ? (*keeper)->run() : 99);
    }

    std::string next_line() {
        while (true) {
            const auto end = buffer_.find('\n');
            if (end != buffer_.npos) {
                const auto line = buffer_.substr(0, end + 1);
                buffer_.erase(0, end + 1);
                said += line;
                return line;
            }
            if (!console_) return {};
            std::array<char, 4096> piece;
            pollfd ready{console_.get(), POLLIN, 0};
            if (::poll(&ready, 1, guard_ms) != 1) return {};
            const ssize_t count = ::read(console_.get(), piece.data(), piece.size());
            if (count <= 0) return {};
            buffer_.append(piece.data(), static_cast<std::size_t>(count));
        }
    }

    base::testing::TemporaryFolder folder_;
    std::string state_, buffer_;
    base::UniqueFd console_, listener_;
    pid_t pid_ = -1;
};

TEST(Keeper, StartsEverythingTellsWhereItIsAndStopsCleanly) {
    Service service(usual_options());
    service.wait_for("ready on http://127.0.0.1:1 (2 instances of tiny)");
    service.wait_for("curl http://127.0.0.1:1/v1/chat/completions");
    EXPECT_EQ(service.stop(), 0);
    EXPECT_THAT(service.said, HasSubstr("holdfast: worker a: loading 40 %\n"));
    EXPECT_THAT(service.said, HasSubstr("holdfast: stopped\n"));
    EXPECT_THAT(service.log("worker-a"), HasSubstr("told to stop"));
    EXPECT_THAT(service.log("gateway"), HasSubstr("told to stop"));
}

TEST(Keeper, GivesEachChildItsSurroundingsAndNothingElse) {
    Service service(usual_options());
    const int gateway = service.wait_for_process("gateway (process");
    service.wait_for("ready on");
    EXPECT_EQ(service.stop(), 0);
    const auto log = service.log("gateway");
    const auto pid = std::to_string(gateway);
    EXPECT_THAT(
        log, HasSubstr("group " + pid + " listen_fds 1 listen_pid " + pid + " watchdog 10000000"));
    EXPECT_THAT(log, HasSubstr("fd 3 listens 1"));
    EXPECT_THAT(service.log("worker-a"), HasSubstr("listen_fds - listen_pid -"));
    EXPECT_THAT(service.log("worker-a"), Not(HasSubstr("fd 3 listens")));
    EXPECT_THAT(log + service.log("worker-a"), Not(HasSubstr("leaked")));
}

TEST(Keeper, RestartsAKilledWorkerAndTellsTheGateway) {
    Service service(usual_options());
    service.wait_for("ready on");
    std::smatch match;
    ASSERT_TRUE(std::regex_search(service.said, match,
                                  std::regex("worker b \\(process ([0-9]+)\\) is ready")));
    const std::string victim = match[1];
    ASSERT_EQ(::kill(std::stoi(victim), SIGKILL), 0);
    service.wait_for("worker b (process " + victim +
                     ") was killed by signal 9 (Killed); starting it again in ");
    const auto heir = std::to_string(service.wait_for_process("worker b (process"));
    EXPECT_NE(heir, victim);
    EXPECT_EQ(service.stop(), 0);
    const auto log = service.log("gateway");
    const auto lived =
        log.find("id=b pid=" + victim + " restarts=0 state=running listen=127.0.0.1:" + victim);
    const auto died = log.find("id=b pid=0 restarts=0 state=down listen=-");
    const auto again =
        log.find("id=b pid=" + heir + " restarts=1 state=running listen=127.0.0.1:" + heir);
    ASSERT_NE(again, log.npos) << log;
    EXPECT_LT(lived, died);
    EXPECT_LT(died, again);
}

TEST(Keeper, ReplacesAKilledGatewayOnTheSameSocket) {
    Service service(usual_options());
    const int first = service.wait_for_process("gateway (process");
    service.wait_for("ready on");
    ASSERT_EQ(::kill(first, SIGKILL), 0);
    service.wait_for("gateway (process " + std::to_string(first) + ") was killed");

    // Nobody accepts at this moment, and the connection is made all the same.
    sockaddr_in address = {};
    socklen_t length = sizeof(address);
    ASSERT_EQ(::getsockname(service.listener(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    const base::UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), length), 0);

    const auto second = std::to_string(service.wait_for_process("gateway (process"));
    EXPECT_EQ(service.stop(), 0);
    const auto log = service.log("gateway");
    const auto begin = log.find("listen_pid " + second);
    ASSERT_NE(begin, log.npos);
    EXPECT_NE(log.find("fd 3 listens 1", begin), log.npos);
    EXPECT_NE(log.find("state=running", begin), log.npos) << "a new gateway gets the list at once";
}

TEST(Keeper, ReportsACrashLoopWithItsReasonAndSlowsItDown) {
    auto options = usual_options();
    options.workers[1].arguments = {"crash"};
    Service service(options);
    int pause = 0;
    for (int i = 0; i < 4; ++i) {
        const auto line = service.wait_for("exited with code 3");
        EXPECT_THAT(line,
                    HasSubstr("its last log line: cannot load: the  [31mfile [0m is broken\n"));
        std::smatch match;
        ASSERT_TRUE(std::regex_search(line, match, std::regex("again in ([0-9]+) ms")));
        EXPECT_GT(std::stoi(match[1]), pause);
        pause = std::stoi(match[1]);
    }
    EXPECT_EQ(service.stop(), 0);
    EXPECT_THAT(service.said, HasSubstr("ready on http://127.0.0.1:1 (1 of 2 instances of tiny)"));
}

TEST(Keeper, ReportsAProgramThatCannotBeExecuted) {
    auto options = usual_options();
    options.program = "/nonexistent/holdfast";
    Service service(options);
    EXPECT_THAT(service.wait_for("worker a"),
                HasSubstr("exited with code 127; starting it again in "));
    EXPECT_THAT(service.said,
                HasSubstr("cannot execute /nonexistent/holdfast: No such file or directory"));
    EXPECT_EQ(service.stop(), 0);
}

TEST(Keeper, KillsAndReplacesAWorkerWithoutProgress) {
    auto options = usual_options();
    options.limits.silence_max = milliseconds(400);
    options.workers[0].arguments = {"worker", "silent"};
    Service service(options);
    const int victim = service.wait_for_process("worker a (process");
    service.wait_for("no sign of progress for 0.4 s; killing it");
    service.wait_for("worker a (process " + std::to_string(victim) + ") was killed by signal 9");
    EXPECT_NE(service.wait_for_process("worker a (process"), victim);
    EXPECT_EQ(service.stop(), 0);
}

TEST(Keeper, KillsAWorkerThatNeverBecomesReady) {
    auto options = usual_options();
    options.limits.start_max = milliseconds(300);
    options.workers = {{"a", "tiny", {"worker", "never-ready"}}};
    Service service(options);
    service.wait_for("not ready after 0.3 s; killing it");
    EXPECT_EQ(service.stop(), 0);
    EXPECT_THAT(service.said, Not(HasSubstr("ready on")));
}

TEST(Keeper, KillsWhatDoesNotLeaveAndStillExitsWithZero) {
    auto options = usual_options();
    options.gateway_arguments = {"gateway", "stubborn"};
    options.workers[0].arguments = {"worker", "stubborn"};
    options.limits.drain_max = milliseconds(100);
    Service service(options);
    service.wait_for("ready on");
    EXPECT_EQ(service.stop(), 0);
    const auto gateway = service.said.find("gateway (process");
    EXPECT_THAT(service.said.substr(gateway), HasSubstr("did not stop in time; killing it"));
    // The workers were told only after the gateway had gone.
    EXPECT_LT(service.said.rfind("gateway (process"), service.said.rfind("worker a (process"));
    EXPECT_THAT(service.log("worker-b"), HasSubstr("told to stop"));
}

TEST(Keeper, StopsAtOnceAtTheSecondSignal) {
    auto options = usual_options();
    options.gateway_arguments = {"gateway", "stubborn"};
    options.limits.drain_max = minutes(100);
    Service service(options);
    service.wait_for("ready on");
    service.signal(SIGINT);
    service.wait_for("stopping");
    service.signal(SIGINT);
    EXPECT_EQ(service.wait_exit(), 0);
    EXPECT_THAT(service.log("worker-a"), Not(HasSubstr("told to stop")));
}

TEST(Keeper, LeavesNoProcessBehindWhenItIsKilled) {
    Service service(usual_options());
    service.wait_for("ready on");
    std::vector<base::UniqueFd> children;
    const std::regex ready("\\(process ([0-9]+)\\) is ready");
    for (std::sregex_iterator it(service.said.begin(), service.said.end(), ready), end; it != end;
         ++it) {
        const int pid = std::stoi((*it)[1]);
        children.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        ASSERT_TRUE(children.back());
    }
    ASSERT_EQ(children.size(), 3U);
    service.signal(SIGKILL);
    for (const base::UniqueFd& child : children) {
        pollfd gone{child.get(), POLLIN, 0};
        EXPECT_EQ(::poll(&gone, 1, guard_ms), 1) << "a child outlives its keeper";
    }
}

TEST(Keeper, ServesWithoutLogsWhereItCannotWrite) {
    const base::testing::TemporaryFolder folder;
    folder.write("file", "not a folder");
    Service service(usual_options(), folder.path() + "/file/state");
    service.wait_for("; there are no logs");
    service.wait_for("ready on");
    EXPECT_EQ(service.stop(), 0);
}

TEST(Keeper, BelievesNoStranger) {
    auto options = usual_options();
    options.workers = {{"a", "tiny", {"worker", "never-ready"}}};
    Service service(options);
    service.wait_for("gateway (process");
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const auto path = service.state() + "/notify.sock";
    ASSERT_LT(path.size(), sizeof(address.sun_path));
    path.copy(address.sun_path, path.size());
    const base::UniqueFd stranger(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const std::string_view lie = "READY=1";
    ASSERT_EQ(::sendto(stranger.get(), lie.data(), lie.size(), 0,
                       reinterpret_cast<sockaddr*>(&address), sizeof(address)),
              7);
    EXPECT_EQ(service.stop(), 0);
    const std::regex believed("worker a \\(process [0-9]+\\) is ready");
    EXPECT_FALSE(std::regex_search(service.said, believed)) << service.said;
}

TEST(Keeper, OutlivesItsConsole) {
    Service service(usual_options());
    service.wait_for("ready on");
    const auto at = service.said.find("worker a (process ");
    const int worker = std::stoi(service.said.substr(at + 18));
    service.close_console();
    const base::UniqueFd gone(static_cast<int>(::syscall(SYS_pidfd_open, worker, 0)));
    ASSERT_EQ(::kill(worker, SIGKILL), 0);  // makes the keeper write
    pollfd dead{gone.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&dead, 1, guard_ms), 1);
    EXPECT_EQ(service.stop(), 0);
}

TEST(Keeper, TellsTheSystemManagerThatStartedIt) {
    auto manager = NotifySocket::open("");
    ASSERT_TRUE(manager.has_value());
    ::setenv("NOTIFY_SOCKET", manager->address().c_str(), 1);
    Service service(usual_options());
    ::unsetenv("NOTIFY_SOCKET");
    service.wait_for("ready on");
    EXPECT_EQ(service.stop(), 0);
    std::string heard;
    while (const auto message = manager->receive()) heard += message->text + "\n";
    EXPECT_THAT(heard, HasSubstr("EXTEND_TIMEOUT_USEC="));
    EXPECT_LT(heard.find("READY=1"), heard.find("STOPPING=1"));
}

TEST(StateFolder, BelongsToOneServiceAtATime) {
    const base::testing::TemporaryFolder folder;
    const auto path = folder.path() + "/new/state";
    {
        const auto first = StateFolder::open(path);
        ASSERT_TRUE(first.has_value() && first->usable());
        const auto second = StateFolder::open(path);
        ASSERT_FALSE(second.has_value());
        EXPECT_THAT(second.error().what, HasSubstr("(process " + std::to_string(::getpid()) + ")"));
        EXPECT_THAT(second.error().what, HasSubstr("--state-dir"));
    }
    EXPECT_TRUE(StateFolder::open(path)->usable());
}

TEST(LogFile, QuotesTheLastLineOfThisLifeOnly) {
    const base::testing::TemporaryFolder folder;
    LogFile log(folder.path() + "/x.log", LogLimits{});
    const auto write = [&](std::string_view text) {
        const auto file = log.open();
        EXPECT_EQ(::write(file->get(), text.data(), text.size()),
                  static_cast<ssize_t>(text.size()));
    };
    EXPECT_EQ(log.last_line(), "");
    write("first\nsecond \n\n");
    EXPECT_EQ(log.last_line(), "second");
    write("");
    EXPECT_EQ(log.last_line(), "");
    write(std::string(10'000, 'x') + "\nend\a");
    EXPECT_EQ(log.last_line(), "end ");
    write("cause\n  next: do this\n  and that\n");
    EXPECT_EQ(log.last_line(), "cause");
}

TEST(LogFile, IsRotatedBetweenLivesAndKeepsAFew) {
    const base::testing::TemporaryFolder folder;
    const auto path = folder.path() + "/x.log";
    LogFile log(path, LogLimits{.bytes_max = 10, .files_kept = 2});
    for (const char* text :
         {"life 1 -----\n", "life 2 -----\n", "life 3 -----\n", "life 4 -----\n"}) {
        const auto file = log.open();
        EXPECT_EQ(::write(file->get(), text, 13), 13);
    }
    EXPECT_EQ(read_file(path), "life 4 -----\n");
    EXPECT_EQ(read_file(path + ".1"), "life 3 -----\n");
    EXPECT_EQ(read_file(path + ".2"), "life 2 -----\n");
    EXPECT_FALSE(std::filesystem::exists(path + ".3"));
}

TEST(LogFile, IsRotatedUnderARunningWriter) {
    const base::testing::TemporaryFolder folder;
    const auto path = folder.path() + "/x.log";
    LogFile log(path, LogLimits{.bytes_max = 10, .files_kept = 1});
    const auto file = log.open();
    log.check();
    EXPECT_EQ(::write(file->get(), "a long first line\n", 18), 18);
    log.check();
    EXPECT_EQ(::write(file->get(), "second\n", 7), 7);
    EXPECT_EQ(read_file(path + ".1"), "a long first line\n");
    EXPECT_EQ(read_file(path), "second\n");
    EXPECT_EQ(log.last_line(), "second");
}

TEST(RosterChannel, NeverBlocksAndEndsWithTheLatestList) {
    RosterChannel channel;
    const auto gateway = channel.renew();
    ASSERT_TRUE(gateway.has_value());
    std::string latest;
    for (int i = 0; !channel.waits_for_room(); ++i) {
        latest = "list " + std::to_string(i) + std::string(1000, '.');
        channel.send(latest);
    }
    latest = "the latest";
    channel.send(latest);
    std::array<char, 4096> packet;
    std::string last;
    for (int i = 0; i < 100'000; ++i) {
        const ssize_t count = ::recv(gateway->get(), packet.data(), packet.size(), MSG_DONTWAIT);
        if (count < 0 && !channel.waits_for_room()) break;
        if (count > 0) last.assign(packet.data(), static_cast<std::size_t>(count));
        channel.send(latest);
    }
    EXPECT_EQ(last, "the latest");
}

}  // namespace
}  // namespace holdfast::keeper
