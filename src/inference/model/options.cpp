#include <string>

#include "inference/model/model.h"

namespace holdfast::model {

using base::Code;
using tensor::DataType;

base::Result<std::optional<DataType>> parse_weights(std::string_view text) {
    if (text == "file") return std::nullopt;
    if (text == "q8") return DataType::q8_0;
    if (text == "q4") return DataType::q4_0;
    if (const auto type = tensor::find_data_type(text)) return type;
    return base::fail(Code::invalid,
                      "weights: \"{}\" is none of file, q8, q4, f32, bf16, f16, q8_0, q6_k, q5_k, "
                      "q4_k and q4_0",
                      text);
}

base::Result<tensor::KvType> parse_kv_type(std::string_view text) {
    if (const auto type = tensor::find_kv_type(text)) return *type;
    return base::fail(Code::invalid, "kv_type: \"{}\" is none of f32, bf16 and q8", text);
}

base::Result<bool> parse_native_numerics(std::string_view text) {
    if (text == "portable") return false;
    if (text == "native") return true;
    return base::fail(Code::invalid, "numerics: \"{}\" is neither portable nor native", text);
}

}  // namespace holdfast::model
