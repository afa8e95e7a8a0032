#include "inference/worker/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>

#include "common/http/test_world.h"

namespace holdfast::worker {
namespace {

using http::testing::RawSocket;
using testing::HasSubstr;

const std::string tiny_r1 = HOLDFAST_SOURCE_DIR "/models/tiny-r1";

// The keeper's end of the notify protocol.
class NotifySocket {
public:
    NotifySocket() : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        const timeval patience{.tv_sec = 60, .tv_usec = 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        EXPECT_EQ(
            ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family)),
            0);
        socklen_t size = sizeof(address);
        ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
        address_ =
            "@" + std::string(address.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1);
    }
    const std::string& address() const { return address_; }
    // The next message with `wanted` in it.
    std::string await(std::string_view wanted) {
        char text[4096];
        while (true) {
            const ssize_t size = ::recv(fd_.get(), text, sizeof(text), 0);
            if (size < 0) return {};
            std::string message(text, static_cast<std::size_t>(size));
            if (message.find(wanted) != std::string::npos) return message;
        }
    }

private:
    base::UniqueFd fd_;
    std::string address_;
};

// A worker process, forked before this test has threads.
class Child {
public:
    Child(const NotifySocket& notify, Options options) : pid_(::fork()) {
        if (pid_ != 0) return;
        ::setenv("NOTIFY_SOCKET", notify.address().c_str(), 1);
        ::setenv("WATCHDOG_USEC", "400000", 1);
        const auto result = run(std::move(options));
        std::_Exit(result ? 0 : 7);
    }
    ~Child() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            await_exit();
        }
    }
    void signal(int number) const { ::kill(pid_, number); }
    // The exit code, or -1 after a death by signal.
    int await_exit() {
        int status = 0;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

private:
    pid_t pid_;
};

std::uint16_t port_in(const std::string& message) {
    const std::string line = message.substr(0, message.find('\n'));
    return static_cast<std::uint16_t>(std::stoi(line.substr(line.rfind(':') + 1)));
}

std::string post(std::string_view body) {
    return fmt::format(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
        body.size(), body);
}

Options tiny_options() {
    Options options;
    options.model_path = tiny_r1;
    options.model_name = "tiny-r1";
    options.kv_tokens = 4096;
    options.listen = "127.0.0.1:0";
    return options;
}

TEST(Run, TellsWhereItListensAndWhenItIsReadyAndDrainsOnSigterm) {
    NotifySocket notify;
    Child child(notify, tiny_options());
    const std::uint16_t port = port_in(notify.await("X_HOLDFAST_LISTEN="));
    EXPECT_THAT(notify.await("READY=1"), HasSubstr("STATUS=serving"));
    EXPECT_EQ(notify.await("WATCHDOG=1"), "WATCHDOG=1");

    auto socket = RawSocket::connect(port);
    socket.send(post(R"({"model":"tiny-r1","messages":[{"role":"user","content":"1+1?"}],)"
                     R"("stream":true,"ignore_eos":true,"max_tokens":200,"seed":1})"));
    socket.read_until("\"finish_reason\":null");
    child.signal(SIGTERM);
    EXPECT_THAT(notify.await("STOPPING=1"), HasSubstr("STATUS=draining"));
    // The running answer ends properly, and then the process.
    EXPECT_THAT(socket.read_until("[DONE]"), HasSubstr("\"finish_reason\":\"length\""));
    socket.close();
    EXPECT_EQ(child.await_exit(), 0);
}

TEST(Run, ExitsAtOnceOnTheSecondSignal) {
    NotifySocket notify;
    Child child(notify, tiny_options());
    const std::uint16_t port = port_in(notify.await("X_HOLDFAST_LISTEN="));
    notify.await("READY=1");
    auto socket = RawSocket::connect(port);
    socket.send(post(R"({"model":"tiny-r1","messages":[{"role":"user","content":"1+1?"}],)"
                     R"("stream":true,"ignore_eos":true,"n":16})"));
    socket.read_until("\"finish_reason\":null");
    child.signal(SIGTERM);
    notify.await("STOPPING=1");
    child.signal(SIGTERM);
    EXPECT_EQ(child.await_exit(), 1);
}

TEST(Run, SaysWhatIsWrongWithAModelThatCannotBeLoaded) {
    Options options;
    options.model_path = "/nonexistent/model";
    options.listen = "127.0.0.1:0";
    const auto result = run(options);
    ASSERT_FALSE(result.has_value());
    EXPECT_THAT(result.error().what, HasSubstr("/nonexistent/model"));
}

TEST(Run, SaysWhenItCannotListen) {
    const auto taken = http::listen_tcp("127.0.0.1:0");
    Options options;
    options.model_path = "/nonexistent/model";
    options.listen = http::local_address(taken->get());
    EXPECT_FALSE(run(options).has_value());
}

}  // namespace
}  // namespace holdfast::worker
