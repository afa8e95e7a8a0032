#include "common/upstream/kind.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <vector>

namespace holdfast::upstream {

std::span<const Kind* const> kinds() {
    static constexpr std::array all{
#define KIND(name) &name##_kind,
#include "common/upstream/kinds.def"
#undef KIND
    };
    return all;
}

base::Result<const Kind*> find_kind(std::string_view name) {
    std::vector<std::string_view> names;
    for (const Kind* kind : kinds()) {
        if (kind->name == name) return kind;
        names.push_back(kind->name);
    }
    return base::fail(base::Code::invalid, "\"{}\" is no kind of instance; there are {}.", name,
                      fmt::join(names, ", "));
}

}  // namespace holdfast::upstream
