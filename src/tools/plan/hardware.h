// What a model could run on: known graphics cards, and the processor that is here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "inference/model/device.h"

namespace holdfast::plan {

struct Hardware {
    std::string name;
    // Whose layout of weights, keys and values counts; of cards that are not here, the processor's.
    std::shared_ptr<const model::Device> device = model::processor();
    std::uint64_t memory_bytes = 0;               // for the model and all that belongs to it
    double bytes_per_second = 0;                  // read bandwidth of that memory
    std::optional<double> operations_per_second;  // peak of the arithmetic, where it is known
    bool is_processor = false;                    // this machine's, which holdfast's engine runs on
    bool has_integer_kernels = false;             // 8-bit dot products for quantized weights (VNNI)
    std::uint32_t threads = 0;                    // of a processor
};

// What a data sheet says of a graphics card.
struct Card {
    std::string_view name;
    double memory_gib, gigabytes_per_second;
    double teraflops;  // dense 16-bit tensor operations with float32 sums
};
std::span<const Card> cards();

// By name, without regard to case, spaces, hyphens, and the words NVIDIA, GeForce and SXM. Errors:
// not_found, with what may have been meant.
[[nodiscard]] base::Result<Hardware> find_card(std::string_view name);

// The processor that is here: memory that is available, and the bandwidth and the float32 peak as
// measured in about a second, with as many threads as it runs at a time. `bytes_per_second` saves
// measuring the bandwidth. Errors: no memory or no threads for measuring.
[[nodiscard]] base::Result<Hardware> this_processor(std::optional<double> bytes_per_second);

}  // namespace holdfast::plan
