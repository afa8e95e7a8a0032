#pragma once

#include <string_view>

namespace holdfast::commands {

// A line that says at a terminal where long work is, and nothing anywhere else. Gone with the
// object. The file descriptor is lent.
class ProgressLine {
public:
    explicit ProgressLine(int fd);
    ~ProgressLine();
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    void show(std::string_view text) const;

private:
    int fd_;
    bool is_terminal_;
};

}  // namespace holdfast::commands
