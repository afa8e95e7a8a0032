#include "tools/cli/terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace holdfast::cli {
namespace {

sigset_t interrupt_signal() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGINT);
    return set;
}

// The length of the well-formed UTF-8 character at the beginning of `text`, 0 if there is none
// (Unicode 15, table 3-7).
std::size_t character_length(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
        return byte(i) >= low && byte(i) <= high;
    };
    const unsigned first = byte(0);
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
    if (first >= 0xe0 && first <= 0xef) {
        const unsigned low = first == 0xe0 ? 0xa0 : 0x80;
        const unsigned high = first == 0xed ? 0x9f : 0xbf;
        return follows(1, low, high) && follows(2) ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        const unsigned low = first == 0xf0 ? 0x90 : 0x80;
        const unsigned high = first == 0xf4 ? 0x8f : 0xbf;
        return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
    }
    return 0;
}

}  // namespace

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

void write_text(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(count));
    }
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = character_length(text);
        const auto first = static_cast<unsigned char>(text[0]);
        const bool is_c1 =
            length == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
        const bool is_control = length == 1 && (first < 0x20 || first == 0x7f);
        if (length == 0) {
            out += "\xef\xbf\xbd";
        } else if ((!is_control && !is_c1) || first == '\n' || first == '\t') {
            out += text.substr(0, length);
        }
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return out;
}

Interrupt::Interrupt() {
    const auto set = interrupt_signal();
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

Interrupt::~Interrupt() {
    take();
    const auto set = interrupt_signal();
    ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

bool Interrupt::take() {
    signalfd_siginfo info;
    bool any = false;
    while (::read(fd_.get(), &info, sizeof(info)) == sizeof(info)) any = true;
    return any;
}

LineReader::Line LineReader::read() {
    while (true) {
        if (const auto end = buffer_.find('\n'); end != buffer_.npos) {
            Line line{.text = buffer_.substr(0, end)};
            buffer_.erase(0, end + 1);
            return line;
        }
        std::array<pollfd, 2> sources{pollfd{fd_, POLLIN, 0}, pollfd{interrupt_.fd(), POLLIN, 0}};
        if (::poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR)
            return {.end = End::input};
        if (interrupt_.take()) {
            buffer_.clear();
            return {.end = End::interrupt};
        }
        if (sources[0].revents == 0) continue;
        std::array<char, 4096> piece;
        const ssize_t count = ::read(fd_, piece.data(), piece.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) {
            if (buffer_.empty()) return {.end = End::input};
            return {.text = std::exchange(buffer_, {})};
        }
        buffer_.append(piece.data(), static_cast<std::size_t>(count));
    }
}

std::optional<std::string> read_everything(int fd, std::size_t bytes_max) {
    std::string text;
    std::array<char, 65536> piece;
    while (true) {
        const ssize_t count = ::read(fd, piece.data(), piece.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return text;
        text.append(piece.data(), static_cast<std::size_t>(count));
        if (text.size() > bytes_max) return std::nullopt;
    }
}

}  // namespace holdfast::cli
