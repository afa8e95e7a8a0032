#include "common/base/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace holdfast::base {
namespace {

// A bound datagram socket; the kernel picks the abstract name when there is no path.
class Receiver {
public:
    explicit Receiver(const std::string& path = {}) {
        const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            ADD_FAILURE() << "no socket";
            return;
        }
        fd_.reset(fd);
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        const socklen_t length = path.empty() ? sizeof(address.sun_family) : sizeof(address);
        EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
        address_ = path;
        if (!path.empty()) return;
        socklen_t size = sizeof(address);
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
        address_ =
            "@" + std::string(address.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1);
    }
    const std::string& address() const { return address_; }
    std::string receive() {
        std::array<char, 4096> text;
        const ssize_t size = ::recv(fd_.get(), text.data(), text.size(), 0);
        return size < 0 ? "nothing" : std::string(text.data(), static_cast<std::size_t>(size));
    }

private:
    UniqueFd fd_;
    std::string address_;
};

TEST(Notifier, SendsToAnAbstractNameAndToAPath) {
    Receiver abstract;
    Notifier(abstract.address()).send("READY=1\nSTATUS=serving");
    EXPECT_EQ(abstract.receive(), "READY=1\nSTATUS=serving");

    const std::string path =
        (std::filesystem::temp_directory_path() / ("notify-" + std::to_string(::getpid())))
            .string();
    Receiver named(path);
    Notifier(path).send("STOPPING=1");
    EXPECT_EQ(named.receive(), "STOPPING=1");
    std::filesystem::remove(path);
}

TEST(Notifier, IsSilentWithoutAReceiver) {
    for (const std::string& address :
         {std::string(), std::string("@"), std::string("relative"), "/" + std::string(200, 'x')}) {
        const Notifier notifier(address);
        EXPECT_FALSE(notifier.active());
        notifier.send("READY=1");
    }
    Notifier("/nonexistent/socket").send("READY=1");
}

TEST(Notifier, NeverBlocksOnAReceiverThatDoesNotRead) {
    Receiver receiver;
    const Notifier notifier(receiver.address());
    for (int i = 0; i < 10'000; ++i) notifier.send("WATCHDOG=1");
    EXPECT_EQ(receiver.receive(), "WATCHDOG=1");
}

TEST(WatchdogInterval, IsReadOnlyWhenItIsMeantForThisProcess) {
    ::setenv("WATCHDOG_USEC", "2000000", 1);
    ::unsetenv("WATCHDOG_PID");
    EXPECT_EQ(watchdog_interval(), std::chrono::seconds(2));
    ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
    EXPECT_EQ(watchdog_interval(), std::chrono::seconds(2));
    ::setenv("WATCHDOG_PID", "1", 1);
    EXPECT_EQ(watchdog_interval(), std::nullopt);
    ::unsetenv("WATCHDOG_PID");
    for (const char* bad : {"", "0", "-1", "2s", "99999999999999999999"}) {
        ::setenv("WATCHDOG_USEC", bad, 1);
        EXPECT_EQ(watchdog_interval(), std::nullopt) << bad;
    }
    ::unsetenv("WATCHDOG_USEC");
    EXPECT_EQ(watchdog_interval(), std::nullopt);
}

}  // namespace
}  // namespace holdfast::base
