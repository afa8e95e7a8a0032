// The child's half of systemd's service protocols (sd_notify(3), sd_listen_fds(3)): the keeper and
// systemd understand the same messages. Without their environment variables nothing is sent.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace holdfast::base {

// Sends never block: a message that the socket does not take at once is lost, and the next one
// tells the same. Any thread.
class Notifier {
public:
    // Reads NOTIFY_SOCKET and WATCHDOG_USEC.
    static Notifier from_environment();

    void ready(std::string_view status);
    void status(std::string_view text);
    void stopping();
    void alive();                              // WATCHDOG=1
    void listening(std::string_view address);  // X_HOLDFAST_LISTEN=host:port
    // How often `alive` is wanted: a quarter of what the other side tolerates. Nothing: not wanted.
    std::optional<Duration> alive_every() const { return alive_every_; }

private:
    void send(std::string_view message);

    UniqueFd socket_;
    std::string address_;  // as in NOTIFY_SOCKET; a leading '@' is an abstract name
    std::optional<Duration> alive_every_;
};

// The first of LISTEN_FDS' sockets if they are meant for this process, or nothing.
std::optional<UniqueFd> inherited_listener();

}  // namespace holdfast::base
