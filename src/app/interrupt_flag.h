#pragma once

namespace holdfast::app {

// While this lives, the first Ctrl-C only sets a flag, so that long work can end cleanly and show
// what it has; the second ends the process, as it would without. At most one lives at a time.
// Threads may have been started before.
class InterruptFlag {
public:
    InterruptFlag();
    ~InterruptFlag();
    InterruptFlag(const InterruptFlag&) = delete;
    InterruptFlag& operator=(const InterruptFlag&) = delete;

    bool is_set() const;
};

// What a shell expects of a process that ended because of Ctrl-C.
inline constexpr int interrupted_exit = 130;

}  // namespace holdfast::app
