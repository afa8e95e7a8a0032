#include "service/keeper/roster.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace holdfast::keeper {

std::string roster_line(const std::string& id, const Child& child, const std::string& reason) {
    auto line = fmt::format("id={} pid={} restarts={} state={} listen={}", id, child.pid(),
                            child.restarts(), roster_word(child.phase()),
                            child.listen().empty() ? "-" : child.listen());
    if (child.pid() == 0 && !reason.empty()) line += " reason=" + reason;
    return line + '\n';
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
