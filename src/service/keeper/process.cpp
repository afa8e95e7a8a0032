#include "service/keeper/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace holdfast::keeper {
namespace {

constexpr std::array<std::string_view, 7> own_variables{
    "NOTIFY_SOCKET=", "WATCHDOG_USEC=",  "WATCHDOG_PID=",      "LISTEN_FDS=",
    "LISTEN_PID=",    "LISTEN_FDNAMES=", "HOLDFAST_ROSTER_FD="};
constexpr std::string_view pid_variable = "LISTEN_PID=";

std::vector<std::string> environment_for(const Launch& plan) {
    std::vector<std::string> out;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        bool is_own = false;
        for (const std::string_view name : own_variables)
            is_own |= std::string_view(*entry).starts_with(name);
        if (!is_own) out.emplace_back(*entry);
    }
    out.insert(out.end(), plan.environment.begin(), plan.environment.end());
    if (plan.listener >= 0) {
        out.emplace_back("LISTEN_FDS=1");
        out.emplace_back(std::string(pid_variable) + std::string(20, '\0'));  // filled by the child
    }
    if (plan.roster >= 0) out.push_back(fmt::format("HOLDFAST_ROSTER_FD={}", roster_fd));
    return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (std::string& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

// From here to the end of become(): between fork and exec only async-signal-safe calls.

void write_decimal(char* out, unsigned value) {
    std::array<char, 20> digits;
    std::size_t count = 0;
    do {
        digits[count++] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0) *out++ = digits[--count];
    *out = '\0';
}

void reset_signals() {
    struct sigaction plain = {};
    plain.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; ++number) ::sigaction(number, &plain, nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void raise_oom_score(int score) {
    const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    std::array<char, 24> text{};
    write_decimal(text.data(), static_cast<unsigned>(score));
    // A refusal leaves the default order, which is no reason not to start.
    if (::write(file, text.data(), ::strlen(text.data())) < 0) errno = 0;
    ::close(file);
}

// Puts `from` at `to`. All sources were moved above the targets before.
void place(int from, int to) {
    if (from < 0 || ::dup2(from, to) < 0) ::_exit(126);
}

void arrange_files(const Launch& plan) {
    constexpr int above = 16;
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    const int input = ::fcntl(nothing, F_DUPFD_CLOEXEC, above);
    const int output = ::fcntl(plan.output >= 0 ? plan.output : nothing, F_DUPFD_CLOEXEC, above);
    const int listener =
        ::fcntl(plan.listener >= 0 ? plan.listener : nothing, F_DUPFD_CLOEXEC, above);
    const int roster = ::fcntl(plan.roster >= 0 ? plan.roster : nothing, F_DUPFD_CLOEXEC, above);
    place(input, STDIN_FILENO);
    place(output, STDOUT_FILENO);
    place(output, STDERR_FILENO);
    unsigned first_closed = listener_fd;
    if (plan.listener >= 0) {
        place(listener, listener_fd);
        first_closed = listener_fd + 1;
    }
    if (plan.roster >= 0) {
        place(roster, roster_fd);
        first_closed = roster_fd + 1;
    }
    ::close_range(first_closed, ~0U, 0);
}

void say(const char* text) {
    if (::write(STDERR_FILENO, text, ::strlen(text)) < 0) errno = 0;  // there is nobody to tell
}

[[noreturn]] void become(const Launch& plan, int keeper, char** arguments, char** environment,
                         char* pid_text) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != keeper) ::_exit(126);  // it died before the kernel was asked
    ::setpgid(0, 0);
    reset_signals();
    if (plan.oom_score > 0) raise_oom_score(plan.oom_score);
    arrange_files(plan);
    if (pid_text != nullptr) write_decimal(pid_text, static_cast<unsigned>(::getpid()));
    ::execve(plan.program.c_str(), arguments, environment);
    const char* reason = ::strerrordesc_np(errno);
    say("cannot execute ");
    say(plan.program.c_str());
    say(": ");
    say(reason != nullptr ? reason : "unknown error");
    say("\n");
    ::_exit(127);
}

}  // namespace

base::Result<int> launch(const Launch& plan) {
    std::vector<std::string> arguments{"holdfast"};
    arguments.insert(arguments.end(), plan.arguments.begin(), plan.arguments.end());
    std::vector<std::string> environment = environment_for(plan);
    const auto argument_pointers = pointers(arguments);
    const auto environment_pointers = pointers(environment);
    char* pid_text = nullptr;
    for (std::string& entry : environment)
        if (entry.starts_with(pid_variable)) pid_text = entry.data() + pid_variable.size();

    const int keeper = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0)
        become(plan, keeper, const_cast<char**>(argument_pointers.data()),
               const_cast<char**>(environment_pointers.data()), pid_text);
    if (pid < 0)
        return base::fail(base::Code::unavailable, "cannot start a process: {}",
                          std::strerror(errno));
    return pid;
}

std::string describe_exit(int status) {
    if (WIFSIGNALED(status)) {
        const char* name = ::strsignal(WTERMSIG(status));
        return fmt::format("was killed by signal {} ({})", WTERMSIG(status),
                           name ? name : "unknown");
    }
    return fmt::format("exited with code {}", WEXITSTATUS(status));
}

}  // namespace holdfast::keeper
