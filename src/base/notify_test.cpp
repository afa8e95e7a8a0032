#include "base/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>

namespace holdfast::base {
namespace {

// A datagram socket with an abstract name, as the keeper has one.
class NotifySocket {
public:
    NotifySocket() : fd_(::socket(AF_UNIX, SOCK_DGRAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t));  // autobind
        socklen_t bytes = sizeof address;
        ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &bytes);
        name_ =
            "@" + std::string(address.sun_path + 1, bytes - offsetof(sockaddr_un, sun_path) - 1);
    }
    const std::string& name() const { return name_; }
    std::string receive() {
        char buffer[256];
        const ssize_t bytes = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
        return bytes < 0 ? "" : std::string(buffer, static_cast<std::size_t>(bytes));
    }

private:
    UniqueFd fd_;
    std::string name_;
};

TEST(Notifier, SpeaksTheNotifyProtocolToASocketWithAnAbstractName) {
    NotifySocket socket;
    ::setenv("NOTIFY_SOCKET", socket.name().c_str(), 1);
    ::setenv("WATCHDOG_USEC", "8000000", 1);
    Notifier notifier = Notifier::from_environment();
    EXPECT_EQ(notifier.alive_every(), std::chrono::seconds(2));
    notifier.ready("serving");
    EXPECT_EQ(socket.receive(), "READY=1\nSTATUS=serving");
    notifier.alive();
    EXPECT_EQ(socket.receive(), "WATCHDOG=1");
    notifier.listening("127.0.0.1:99");
    EXPECT_EQ(socket.receive(), "X_HOLDFAST_LISTEN=127.0.0.1:99");
}

TEST(Notifier, SaysNothingWhenNobodyAsked) {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    Notifier notifier = Notifier::from_environment();
    notifier.ready("x");
    EXPECT_FALSE(notifier.alive_every());
}

TEST(InheritedListener, IsOnlyTakenWhenMeantForThisProcess) {
    ::setenv("LISTEN_FDS", "1", 1);
    ::setenv("LISTEN_PID", "1", 1);
    EXPECT_FALSE(inherited_listener());
    ::unsetenv("LISTEN_FDS");
    ::unsetenv("LISTEN_PID");
    EXPECT_FALSE(inherited_listener());
}

}  // namespace
}  // namespace holdfast::base
