#include "inference/tensor/config.h"

#include "inference/tensor/config_checks.h"
#include "inference/tensor/gguf.h"

namespace holdfast::tensor {

base::Result<> check_shape(const Config& config, const ShapeFieldNames& names,
                           std::string_view source) {
    const auto wrong = [&](std::string_view field, const std::string& reason) {
        return base::fail(base::Code::invalid, "{} \"{}\" {}", source, field, reason);
    };
    if (config.heads % config.kv_heads != 0)
        return wrong(names.heads, fmt::format("({}) is no multiple of {} ({})", config.heads,
                                              names.kv_heads, config.kv_heads));
    if (config.head_dim % 32 != 0 || config.head_dim > head_dim_max)
        return wrong(names.head_dim,
                     fmt::format("({}, or {} / {}) is no multiple of 32 up to {}", config.head_dim,
                                 names.hidden, names.heads, head_dim_max));
    if (config.hidden % 16 != 0) return wrong(names.hidden, "is no multiple of 16");
    if (config.ffn % 16 != 0) return wrong(names.ffn, "is no multiple of 16");
    return {};
}

base::Result<Config> read_config(const std::string& path) {
    return is_gguf(path) ? read_gguf_config(path) : read_folder_config(path);
}

}  // namespace holdfast::tensor
