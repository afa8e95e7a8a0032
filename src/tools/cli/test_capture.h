// What commands read and say, in tests.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "common/base/unique_fd.h"
#include "tools/cli/terminal.h"

namespace holdfast::cli::testing {

// A file that takes what a command says, or gives what it reads.
class Capture {
public:
    explicit Capture(std::string_view content = {}) {
        std::string path = ::testing::TempDir() + "capture.XXXXXX";
        fd_.reset(::mkostemp(path.data(), O_CLOEXEC));
        ::unlink(path.c_str());
        EXPECT_EQ(::pwrite(fd_.get(), content.data(), content.size(), 0),
                  static_cast<ssize_t>(content.size()));
    }
    int fd() const { return fd_.get(); }
    std::string text() const {
        std::string out(1 << 20, '\0');
        const ssize_t count = ::pread(fd_.get(), out.data(), out.size(), 0);
        out.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
        return out;
    }

private:
    base::UniqueFd fd_;
};

struct Said {
    int code;
    std::string output, error;
};

// Runs `command`, which takes Streams and returns an exit code, with `input` to read.
template <class Command>
Said capture(const Command& command, std::string_view input = {}) {
    const Capture source(input), output, error;
    const int code = command(Streams{source.fd(), output.fd(), error.fd()});
    return {code, output.text(), error.text()};
}

}  // namespace holdfast::cli::testing
