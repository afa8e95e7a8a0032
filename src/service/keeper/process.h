#pragma once

#include <string>
#include <vector>

#include "common/base/error.h"

namespace holdfast::keeper {

// How a child is started. File descriptors are lent and stay open in the caller.
struct Launch {
    std::string program;
    std::vector<std::string> arguments;    // without argv[0], which is "holdfast"
    std::vector<std::string> environment;  // "NAME=value", besides the keeper's own
    int output = -1;                       // becomes its stdout and stderr
    int listener = -1;                     // becomes fd 3, announced by LISTEN_FDS and LISTEN_PID
    int roster = -1;                       // becomes fd 4, announced by HOLDFAST_ROSTER_FD
    int oom_score = 0;  // from 0; the kernel, out of memory, kills the highest first
};

inline constexpr int listener_fd = 3;  // SD_LISTEN_FDS_START
inline constexpr int roster_fd = 4;

// Starts a process that is killed when the caller dies, stands in a process group of its own (a
// Ctrl-C in the terminal reaches only the keeper), has no signals blocked or ignored, and no file
// but those above. A program that cannot be executed says so on `output` and exits with code 127.
// Call from the thread that lives as long as the process: the kernel watches that thread. Note
// that the kernel forgets the parent-death signal when a program with file capabilities starts.
base::Result<int> launch(const Launch& plan);

// "exited with code 3", "was killed by signal 9 (Killed)". `status` as waitpid gives it.
std::string describe_exit(int status);

}  // namespace holdfast::keeper
