#include "app/commands/progress_line.h"

#include <fmt/format.h>

#include "tools/cli/terminal.h"

namespace holdfast::commands {

ProgressLine::ProgressLine(int fd) : fd_(fd), is_terminal_(cli::is_terminal(fd)) {}

ProgressLine::~ProgressLine() { show({}); }

// Back to the line's beginning, and all behind it away (ECMA-48, EL).
void ProgressLine::show(std::string_view text) const {
    if (is_terminal_) cli::write_text(fd_, fmt::format("\r\x1b[K{}", text));
}

}  // namespace holdfast::commands
