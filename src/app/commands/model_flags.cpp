#include "app/commands/model_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/suggest.h"
#include "inference/model/model.h"
#include "inference/model/random.h"

namespace holdfast::commands {
namespace {

// A model that lies in the caches, for trying things out.
constexpr std::string_view tiny_name = "tiny";

std::unexpected<base::Error> unknown(std::string_view flag, std::string_view name,
                                     const std::vector<std::string>& known) {
    return base::fail_field(flag, "{}: \"{}\" is none of {}{}", flag, name.substr(0, 60),
                            fmt::join(known, ", "), base::suggestion(name, known));
}

}  // namespace

std::vector<std::string> weight_names() {
    std::vector<std::string> names;
    for (int i = 0; i < static_cast<int>(tensor::DataType::other); ++i)
        names.emplace_back(tensor::name(static_cast<tensor::DataType>(i)));
    return names;
}

std::vector<std::string> shape_names() {
    std::vector<std::string> names{std::string(tiny_name)};
    for (const std::string_view name : model::shape_names()) names.emplace_back(name);
    return names;
}

base::Result<std::optional<tensor::DataType>> parse_weights(std::string_view name) {
    if (const auto type = model::parse_weights(name)) return *type;
    return unknown("--weights", name, weight_names());
}

base::Result<tensor::KvType> parse_kv_type(std::string_view name) {
    if (const auto type = model::parse_kv_type(name)) return *type;
    return unknown("--kv", name, {"f32", "bf16", "q8"});
}

base::Result<tensor::Config> parse_shape(std::string_view name) {
    if (name == tiny_name) return model::tiny_shape();
    if (auto shape = model::find_shape(name)) return *std::move(shape);
    return unknown("--shape", name, shape_names());
}

std::string base_name(std::string_view path) {
    while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
    return std::string(path.substr(path.rfind('/') + 1));
}

}  // namespace holdfast::commands
