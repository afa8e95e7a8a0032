#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "tensor/config.h"

struct XXH3_state_s;

namespace holdfast::model {

// Changes whenever the bits of any logit may change on the CPU: see backend/cpu/kernels.h.
inline constexpr std::string_view numerics_version = "portable-1";

// Collects everything that decides a model's bits: its configuration and all tensors in the order
// in which they are added. How the checkpoint is cut into files does not count.
class Fingerprint {
public:
    explicit Fingerprint(const tensor::Config& config);
    void add(std::string_view tensor, std::string_view type, std::span<const std::byte> bytes);

    // "<numerics version>-<weight format>-<32 hexadecimal digits>".
    std::string text(std::string_view weight_format) const;

private:
    void add_text(std::string_view text);

    struct Free {
        void operator()(XXH3_state_s* state) const;
    };
    std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace holdfast::model
