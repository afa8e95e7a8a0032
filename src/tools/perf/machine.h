#pragma once

#include <cstdint>
#include <string>

namespace holdfast::perf {

// What the system calls its processor, or the architecture where it has no name.
std::string processor_name();

// Threads that can compute at a time without getting in each other's way.
std::uint32_t processor_threads();

}  // namespace holdfast::perf
