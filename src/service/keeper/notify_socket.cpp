#include "service/keeper/notify_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace holdfast::keeper {
namespace {

// An address as NOTIFY_SOCKET spells it: a path, or '@' and an abstract name. Length 0: too long.
std::pair<sockaddr_un, socklen_t> make_address(std::string_view text) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (text.empty() || text.size() >= sizeof(address.sun_path)) return {address, 0};
    std::memcpy(address.sun_path, text.data(), text.size());
    const bool is_abstract = text[0] == '@';
    if (is_abstract) address.sun_path[0] = '\0';
    const auto end = offsetof(sockaddr_un, sun_path) + text.size() + (is_abstract ? 0 : 1);
    return {address, static_cast<socklen_t>(end)};
}

const sockaddr* generic(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

// The kernel chooses a free abstract name when only the family is given, unix(7).
std::string bind_anywhere(int fd) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (::bind(fd, generic(address), sizeof(address.sun_family)) != 0) return {};
    socklen_t length = sizeof(address);
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
    const auto name_length = length - offsetof(sockaddr_un, sun_path);
    return "@" + std::string(address.sun_path + 1, name_length - 1);
}

}  // namespace

base::Result<NotifySocket> NotifySocket::open(const std::string& path) {
    NotifySocket out;
    out.fd_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int yes = 1;
    if (!out.fd_ || ::setsockopt(out.fd_.get(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) != 0)
        return base::fail(base::Code::internal, "cannot make the notify socket: {}",
                          std::strerror(errno));
    const auto [address, length] = make_address(path);
    if (length > 0) {
        ::unlink(path.c_str());
        if (::bind(out.fd_.get(), generic(address), length) == 0) {
            out.address_ = path;
            return out;
        }
    }
    out.address_ = bind_anywhere(out.fd_.get());
    if (out.address_.empty())
        return base::fail(base::Code::internal, "cannot bind the notify socket: {}",
                          std::strerror(errno));
    return out;
}

std::optional<NotifySocket::Message> NotifySocket::receive() {
    // There is room for the credentials alone: files that a stranger sends along are closed by
    // the kernel.
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control;
    std::array<char, 4096> text;
    while (true) {
        iovec piece{text.data(), text.size()};
        msghdr head = {};
        head.msg_iov = &piece;
        head.msg_iovlen = 1;
        head.msg_control = control.data();
        head.msg_controllen = control.size();
        const ssize_t count = ::recvmsg(fd_.get(), &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return std::nullopt;
        const cmsghdr* note = CMSG_FIRSTHDR(&head);
        const bool has_sender =
            note != nullptr && note->cmsg_level == SOL_SOCKET && note->cmsg_type == SCM_CREDENTIALS;
        if (!has_sender || (head.msg_flags & MSG_TRUNC) != 0) continue;
        ucred sender = {};
        std::memcpy(&sender, CMSG_DATA(note), sizeof(sender));
        return Message{sender.pid, std::string(text.data(), static_cast<std::size_t>(count))};
    }
}

}  // namespace holdfast::keeper
