#include "service/keeper/console.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <string>

namespace holdfast::keeper {

// A pipe that is writable has room for PIPE_BUF bytes at least, pipe(7): a short write cannot
// block.
bool Console::write_now(std::string_view text) const {
    pollfd ready{fd_, POLLOUT, 0};
    if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return false;
    return ::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

void Console::line(std::string_view text) {
    constexpr std::size_t bytes_max = 4000;  // below PIPE_BUF
    std::string whole;
    if (dropped_ > 0) whole = fmt::format("holdfast: ({} lines dropped)\n", dropped_);
    whole += text.substr(0, bytes_max - 100);
    whole += '\n';
    if (write_now(whole)) {
        dropped_ = 0;
    } else {
        ++dropped_;
    }
}

}  // namespace holdfast::keeper
