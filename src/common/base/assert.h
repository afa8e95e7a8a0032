// Assertions that stay on in release builds, for what only a bug can break. Never for input.
#pragma once

namespace holdfast::base {
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);
}  // namespace holdfast::base

#define HF_ASSERT(condition)      \
    (static_cast<bool>(condition) \
         ? void(0)                \
         : ::holdfast::base::assertion_failed(#condition, __FILE__, __LINE__))
