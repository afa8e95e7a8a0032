#include "common/base/notify.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace holdfast::base {
namespace {

std::optional<std::uint64_t> number_in(const char* name) {
    const char* const text = std::getenv(name);
    if (text == nullptr) return std::nullopt;
    const char* const end = text + std::strlen(text);
    std::uint64_t value = 0;
    const auto [rest, error] = std::from_chars(text, end, value);
    if (error != std::errc() || rest != end) return std::nullopt;
    return value;
}

}  // namespace

Notifier::Notifier(std::string_view address) {
    const bool is_address = address.starts_with('/') || address.starts_with('@');
    if (!is_address || address.size() < 2 || address.size() >= sizeof(sockaddr_un::sun_path))
        return;
    address_ = address;
    fd_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

Notifier Notifier::from_environment() {
    const char* const address = std::getenv("NOTIFY_SOCKET");
    return address == nullptr ? Notifier() : Notifier(address);
}

void Notifier::send(std::string_view text) const {
    if (!fd_) return;
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, address_.data(), address_.size());
    const bool is_abstract = address_.front() == '@';
    if (is_abstract) address.sun_path[0] = '\0';
    // A path ends with its NUL, an abstract name with its last byte, unix(7).
    const std::size_t length =
        offsetof(sockaddr_un, sun_path) + address_.size() + (is_abstract ? 0 : 1);
    (void)::sendto(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL,
                   reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(length));
}

std::optional<std::chrono::microseconds> watchdog_interval() {
    const auto pid = number_in("WATCHDOG_PID");
    if (pid && *pid != static_cast<std::uint64_t>(::getpid())) return std::nullopt;
    if (pid == std::nullopt && std::getenv("WATCHDOG_PID") != nullptr) return std::nullopt;
    const auto interval = number_in("WATCHDOG_USEC");
    constexpr std::uint64_t sensible_max = 1'000'000ULL * 86'400;
    if (!interval || *interval == 0 || *interval > sensible_max) return std::nullopt;
    return std::chrono::microseconds(*interval);
}

std::optional<UniqueFd> inherited_listener() {
    constexpr int first_fd = 3;  // SD_LISTEN_FDS_START
    const char* pid = std::getenv("LISTEN_PID");
    const char* count = std::getenv("LISTEN_FDS");
    if (pid == nullptr || count == nullptr || pid != std::to_string(::getpid()) ||
        std::string_view(count) == "0")
        return std::nullopt;
    int is_listening = 0;
    socklen_t size = sizeof is_listening;
    if (::getsockopt(first_fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 ||
        is_listening == 0)
        return std::nullopt;
    ::fcntl(first_fd, F_SETFD, FD_CLOEXEC);
    return UniqueFd(first_fd);
}

}  // namespace holdfast::base
