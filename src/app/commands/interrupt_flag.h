#pragma once

namespace holdfast::commands {

// While this lives, the first Ctrl-C, SIGTERM or hang-up of the terminal only sets a flag, so that
// long work can end cleanly and show what it has; the second of its kind ends the process, as it
// would without. At most one lives at a time. Threads may have been started before.
class InterruptFlag {
public:
    InterruptFlag();
    ~InterruptFlag();
    InterruptFlag(const InterruptFlag&) = delete;
    InterruptFlag& operator=(const InterruptFlag&) = delete;

    bool is_set() const;
    // What a shell expects of a process that ended because of the signal that set the flag: 128 and
    // its number.
    int exit_code() const;
};

}  // namespace holdfast::commands
