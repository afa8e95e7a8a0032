#include "base/notify.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace holdfast::base {

namespace {

constexpr int first_inherited_fd = 3;  // SD_LISTEN_FDS_START

std::optional<std::uint64_t> number_from_environment(const char* name) {
    const char* text = std::getenv(name);
    if (text == nullptr) return std::nullopt;
    std::uint64_t value = 0;
    const char* end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, value);
    if (error != std::errc() || stop != end) return std::nullopt;
    return value;
}

}  // namespace

Notifier Notifier::from_environment() {
    Notifier notifier;
    const char* address = std::getenv("NOTIFY_SOCKET");
    if (address == nullptr || *address == '\0') return notifier;
    notifier.address_ = address;
    notifier.socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (const auto microseconds = number_from_environment("WATCHDOG_USEC"))
        notifier.alive_every_ = std::chrono::microseconds(*microseconds) / 4;
    return notifier;
}

void Notifier::send(std::string_view message) {
    sockaddr_un to{};
    if (!socket_ || address_.size() >= sizeof to.sun_path) return;
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, address_.data(), address_.size());
    if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
    const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
    (void)::sendto(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL,
                   reinterpret_cast<const sockaddr*>(&to), bytes);
}

void Notifier::ready(std::string_view status) { send(fmt::format("READY=1\nSTATUS={}", status)); }
void Notifier::status(std::string_view text) { send(fmt::format("STATUS={}", text)); }
void Notifier::stopping() { send("STOPPING=1"); }
void Notifier::alive() { send("WATCHDOG=1"); }
void Notifier::listening(std::string_view address) {
    send(fmt::format("X_HOLDFAST_LISTEN={}", address));
}

std::optional<UniqueFd> inherited_listener() {
    const auto count = number_from_environment("LISTEN_FDS");
    const auto pid = number_from_environment("LISTEN_PID");
    if (!count || *count < 1 || pid != static_cast<std::uint64_t>(::getpid())) return std::nullopt;
    ::fcntl(first_inherited_fd, F_SETFD, FD_CLOEXEC);
    return UniqueFd(first_inherited_fd);
}

}  // namespace holdfast::base
