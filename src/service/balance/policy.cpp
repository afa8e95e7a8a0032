#include "service/balance/policy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string>
#include <vector>

namespace holdfast::balance {

#define POLICY(kind) extern const PolicyKind kind##_kind;
#include "service/balance/policies.def"
#undef POLICY

std::span<const PolicyKind> policies() {
    static const std::array kinds{
#define POLICY(kind) kind##_kind,
#include "service/balance/policies.def"
#undef POLICY
    };
    return kinds;
}

base::Result<std::unique_ptr<Policy>> make_policy(std::string_view name) {
    std::vector<std::string_view> names;
    for (const PolicyKind& kind : policies()) {
        if (kind.name == name) return kind.make();
        names.push_back(kind.name);
    }
    return base::fail(base::Code::invalid, "unknown balancing policy \"{}\"; known are {}", name,
                      fmt::join(names, ", "));
}

}  // namespace holdfast::balance
