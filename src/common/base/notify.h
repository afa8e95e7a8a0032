// The sending end of systemd's notification protocol, sd_notify(3), towards whoever started this
// process: the keeper or systemd. Without NOTIFY_SOCKET nothing is sent.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/unique_fd.h"

namespace holdfast::base {

// Any thread. Never blocks: what the receiver has no room for is lost, as the protocol allows.
class Notifier {
public:
    Notifier() = default;  // sends nothing
    // A path, or '@' and an abstract name. An address that cannot be one is as none.
    explicit Notifier(std::string_view address);
    // To NOTIFY_SOCKET.
    static Notifier from_environment();

    bool active() const { return static_cast<bool>(fd_); }
    // Lines such as "READY=1\nSTATUS=serving".
    void send(std::string_view text) const;

private:
    UniqueFd fd_;
    std::string address_;
};

// How often WATCHDOG=1 is expected (WATCHDOG_USEC, if WATCHDOG_PID is absent or ours).
std::optional<std::chrono::microseconds> watchdog_interval();

// The listening socket that the keeper or systemd hands over (sd_listen_fds(3)): the first one, if
// it is meant for this process and does listen.
std::optional<UniqueFd> inherited_listener();

}  // namespace holdfast::base
