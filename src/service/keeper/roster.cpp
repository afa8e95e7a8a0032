#include "service/keeper/roster.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace holdfast::keeper {

namespace {

upstream::ProcessState state_of(Phase phase) {
    switch (phase) {
        case Phase::starting:
            return upstream::ProcessState::starting;
        case Phase::running:
            return upstream::ProcessState::running;
        case Phase::draining:
            return upstream::ProcessState::draining;
        case Phase::waiting:
        case Phase::stopped:
            return upstream::ProcessState::down;
    }
    std::unreachable();
}

}  // namespace

upstream::RosterEntry roster_entry(const std::string& id, const Child& child,
                                   const std::string& reason) {
    return {id,
            child.pid(),
            child.restarts(),
            state_of(child.phase()),
            child.listen(),
            child.pid() == 0 ? reason : std::string()};
}

base::Result<base::UniqueFd> RosterChannel::renew() {
    std::array<int, 2> pair{-1, -1};
    close();
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0)
        return base::fail(base::Code::unavailable, "cannot make the roster channel: {}",
                          std::strerror(errno));
    fd_.reset(pair[0]);
    sent_.clear();
    waits_ = false;
    return base::UniqueFd(pair[1]);
}

void RosterChannel::send(const std::string& list) {
    if (!fd_ || list == sent_ || list.empty()) {
        waits_ = false;
        return;
    }
    const ssize_t count = ::send(fd_.get(), list.data(), list.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) sent_ = list;
    waits_ = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS);
    // Any other error means that the gateway is gone; its death is reported by SIGCHLD.
    if (count < 0 && !waits_) close();
}

}  // namespace holdfast::keeper
