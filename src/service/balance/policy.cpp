#include "service/balance/policy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string>
#include <vector>

#include "common/base/suggest.h"

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
    std::vector<std::string> names;
    for (const PolicyKind& kind : policies()) {
        if (kind.name == name) return kind.make();
        names.emplace_back(kind.name);
    }
    return base::fail(base::Code::invalid, "must be one of {}, not \"{}\"{}",
                      fmt::join(names, ", "), name.substr(0, 60), base::suggestion(name, names));
}

}  // namespace holdfast::balance
