// Stands in for gateway and worker in the keeper's tests: it speaks their side of docs/protocol.md
// and misbehaves as its arguments say.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "common/base/notify.h"

namespace {

int watch_for_sigterm() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    return ::signalfd(-1, &set, SFD_CLOEXEC);
}

// Repeats to the log everything that has come over the roster.
void copy_roster(int fd) {
    std::array<char, 65536> packet;
    while (true) {
        const ssize_t count = ::recv(fd, packet.data(), packet.size(), MSG_DONTWAIT);
        if (count <= 0) return;
        std::printf("roster\n%.*s---\n", static_cast<int>(count), packet.data());
    }
}

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "-" : value;
}

}  // namespace

int main(int count, char** values) {
    const std::set<std::string_view> words(values + 1, values + count);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    std::printf("started %d parent %d group %d listen_fds %s listen_pid %s watchdog %s\n",
                ::getpid(), ::getppid(), ::getpgrp(), variable("LISTEN_FDS").c_str(),
                variable("LISTEN_PID").c_str(), variable("WATCHDOG_USEC").c_str());
    int type = 0;
    socklen_t size = sizeof(type);
    if (::getsockopt(3, SOL_SOCKET, SO_ACCEPTCONN, &type, &size) == 0)
        std::printf("fd 3 listens %d\n", type);
    if (::fcntl(9, F_GETFD) >= 0) std::printf("fd 9 leaked\n");
    const int signals = watch_for_sigterm();
    if (words.contains("crash")) {
        std::printf("cannot load: the \x1b[31mfile\x1b[0m is broken\n");
        return 3;
    }
    if (words.contains("never-ready")) {
        while (true) ::pause();
    }
    const auto notifier = holdfast::base::Notifier::from_environment();
    notifier.send("STATUS=loading 40 %");
    notifier.send("READY=1\nX_HOLDFAST_LISTEN=127.0.0.1:" + std::to_string(::getpid()));
    const int roster =
        words.contains("gateway") ? std::atoi(variable("HOLDFAST_ROSTER_FD").c_str()) : -1;
    const int every_ms = std::atoi(variable("WATCHDOG_USEC").c_str()) / 1000 / 4;
    while (true) {
        std::array<pollfd, 2> sources{pollfd{signals, POLLIN, 0}, pollfd{roster, POLLIN, 0}};
        ::poll(sources.data(), sources.size(), every_ms);
        if (sources[1].revents != 0) copy_roster(roster);
        if (sources[0].revents != 0) {
            signalfd_siginfo info;
            if (::read(signals, &info, sizeof(info)) < 0) return 9;
            std::printf("told to stop\n");
            if (!words.contains("stubborn")) return 0;
        }
        if (!words.contains("silent")) notifier.send("WATCHDOG=1");
    }
}
