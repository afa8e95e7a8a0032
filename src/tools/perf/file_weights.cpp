#include "tools/perf/file_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/assert.h"

namespace holdfast::perf {
namespace {

using tensor::DataType;
using tensor::Role;

// The types of all matrices.
class Types final : public tensor::WeightSink {
public:
    base::Result<> vector(Role /*role*/, std::uint32_t /*layer*/, std::uint32_t /*size*/,
                          const VectorOf& /*values*/) override {
        return {};
    }
    base::Result<> matrix(Role role, std::uint32_t /*layer*/, DataType type,
                          std::uint32_t /*outputs*/, std::uint32_t /*inputs*/,
                          const tensor::RowOf& /*row_of*/) override {
        (role == Role::head ? ends : layers).push_back(type);
        return {};
    }
    base::Result<> table(DataType type, std::uint32_t /*rows*/, std::uint32_t /*columns*/,
                         const tensor::RowOf& /*row_of*/) override {
        ends.push_back(type);
        return {};
    }

    std::vector<DataType> layers, ends;  // ends: embedding and head
};

}  // namespace

base::Result<FileWeights> FileWeights::open(const std::string& path) {
    HF_TRY_ASSIGN(auto source, model::open_weights(path));
    Types types;
    HF_TRY(source->list(std::nullopt, types));
    return FileWeights(std::move(source));
}

std::string FileWeights::names(std::optional<DataType> type) const {
    Types types;
    const bool listed = source_->list(type, types).has_value();
    HF_ASSERT(listed);  // as when it was opened
    types.layers.insert(types.layers.end(), types.ends.begin(), types.ends.end());
    std::vector<std::string_view> names;
    for (const DataType one : types.layers)
        if (std::ranges::find(names, tensor::name(one)) == names.end())
            names.push_back(tensor::name(one));
    std::string text = fmt::format("{}", fmt::join(names, ", "));
    if (type && std::ranges::find(names, tensor::name(*type)) == names.end())
        text += fmt::format(" for {}", tensor::name(*type));
    return text;
}

bool FileWeights::can_have(DataType type) const {
    Types types;
    const bool listed = source_->list(type, types).has_value();
    HF_ASSERT(listed);
    return std::ranges::all_of(types.layers, [&](DataType own) { return own == type; });
}

}  // namespace holdfast::perf
