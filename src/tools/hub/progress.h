// How far a pull is, in numbers and for people.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "common/base/clock.h"

namespace holdfast::hub {

struct Progress {
    std::uint64_t bytes_done = 0, bytes_total = 0;  // done: those that were there before, too
    std::uint64_t bytes_before = 0;                 // of them, from earlier attempts
    std::size_t files_done = 0, files_total = 0;
    std::string finished;  // the file that is complete and checked now, or empty
};

// "1.5 GiB"; bytes below 1 KiB as they are.
std::string format_size(std::uint64_t bytes);

// One line about a progress: share, bytes, rate, time left. The rate is that of the last seconds,
// so that the time left is neither moved by every hiccup nor by what happened long ago.
class ProgressLine {
public:
    explicit ProgressLine(const base::Clock& clock) : clock_(clock) {}
    std::string update(const Progress& progress);

private:
    struct Sample {
        base::Instant at;
        std::uint64_t bytes;
    };
    const base::Clock& clock_;
    std::deque<Sample> samples_;  // of the last ten seconds, at most one in 100 ms
};

}  // namespace holdfast::hub
