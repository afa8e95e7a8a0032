#include "common/dialect/dialect.h"

#include <algorithm>

#include "common/dialect/openai_chat.h"
#include "common/dialect/openai_completions.h"

namespace holdfast::dialect {
namespace {

constexpr Dialect all[] = {
#define DIALECT(...) Dialect{__VA_ARGS__},
#include "common/dialect/dialects.def"
#undef DIALECT
};

}  // namespace

std::span<const Dialect> dialects() { return all; }

const Dialect* find_by_path(std::string_view path) {
    const auto found = std::ranges::find(all, path, &Dialect::path);
    return found == std::end(all) ? nullptr : found;
}

}  // namespace holdfast::dialect
