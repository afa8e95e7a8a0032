// The receiving end of systemd's notification protocol, sd_notify(3).
#pragma once

#include <optional>
#include <string>

#include "common/base/error.h"
#include "common/base/unique_fd.h"

namespace holdfast::keeper {

// For the keeper's children. Keeper's thread only; never blocks.
class NotifySocket {
public:
    struct Message {
        int pid = 0;  // the sender, as the kernel says: it cannot be forged
        std::string text;
    };

    // Bound to `path` (a file that a dead predecessor left is replaced), or, where that is empty,
    // too long or impossible, to a free abstract address.
    static base::Result<NotifySocket> open(const std::string& path);

    int fd() const { return fd_.get(); }
    // For NOTIFY_SOCKET.
    const std::string& address() const { return address_; }
    // The next message, or nothing. Messages longer than 4 KiB are dropped.
    std::optional<Message> receive();

private:
    base::UniqueFd fd_;
    std::string address_;
};

}  // namespace holdfast::keeper
