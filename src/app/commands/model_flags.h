// What perf, plan and eval read alike from the command line: models, shapes and number formats.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/kv_type.h"

namespace holdfast::commands {

// As model::parse_weights and model::parse_kv_type; errors name the flag and what may have been
// meant.
[[nodiscard]] base::Result<std::optional<tensor::DataType>> parse_weights(std::string_view name);
[[nodiscard]] base::Result<tensor::KvType> parse_kv_type(std::string_view name);
// The shape of a model by name, such as "r1-1.5b".
[[nodiscard]] base::Result<tensor::Config> parse_shape(std::string_view name);

// All names, for help texts.
std::vector<std::string> weight_names();
std::vector<std::string> shape_names();

// A model's folder or file without what leads to it: "tiny-r1".
std::string base_name(std::string_view path);

}  // namespace holdfast::commands
