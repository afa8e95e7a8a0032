// The person's side: reading lines, writing text, and Ctrl-C.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/unique_fd.h"

namespace holdfast::cli {

// Where a command reads and writes. File descriptors are lent.
struct Streams {
    int input = 0;
    int output = 1;
    int error = 2;
};

// Exit code of what Ctrl-C ended: 128 and the number of SIGINT, as shells have it.
inline constexpr int interrupted_exit = 130;

bool is_terminal(int fd);
// Writes everything, or gives up when nobody reads any more.
void write_text(int fd, std::string_view text);

// `text` without the control characters that could steer a terminal (C0 but line break and tab,
// DEL, C1) and with U+FFFD for bytes that are not UTF-8.
std::string printable(std::string_view text);

// Ctrl-C as something to wait for: while this lives, SIGINT does not end the process but makes fd()
// readable. The process must have one thread when it is made.
class Interrupt {
public:
    Interrupt();
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    int fd() const { return fd_.get(); }
    // Takes what has come; true if there was an interrupt.
    bool take();

private:
    base::UniqueFd fd_;
};

// Lines from a file descriptor; the terminal itself offers the line editing.
class LineReader {
public:
    enum class End { none, input, interrupt };
    struct Line {
        std::string text;
        End end = End::none;  // other than none: there is no line
    };

    LineReader(int fd, Interrupt& interrupt) : fd_(fd), interrupt_(interrupt) {}
    Line read();

private:
    int fd_;
    Interrupt& interrupt_;
    std::string buffer_;
};

// Everything up to the end of the input, or nothing if it is larger than `bytes_max`.
std::optional<std::string> read_everything(int fd, std::size_t bytes_max);

}  // namespace holdfast::cli
