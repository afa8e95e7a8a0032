#pragma once

#include <cstdint>
#include <string>

namespace holdfast::perf {

// What the system calls its processor, or the architecture where it has no name.
std::string processor_name();

// Threads that this process may run at a time.
std::uint32_t processor_threads();

}  // namespace holdfast::perf
