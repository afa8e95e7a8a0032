#include "tools/plan/hardware.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "common/base/suggest.h"
#include "common/cores/machine.h"
#include "tools/perf/measure.h"

namespace holdfast::plan {
namespace {

// Memory and bandwidth: NVIDIA's product pages and data sheets of each card. Tensor rates, dense,
// 16-bit with float32 sums: appendix tables of NVIDIA's architecture white papers (Turing, GA102,
// Ada, RTX Blackwell; A100, H100) and the H200 data sheet. Where a paper lists only the first card
// of a family, the rate is 4 (Turing) or 2 (later GeForce) times the card's float32 rate at boost
// clock, as for the cards that it lists. Where sources differ: Turing at the reference clocks, not
// the Founders Editions' (5 % more); the 4070 with GDDR6X (480 GB/s with GDDR6); the H100 PCIe from
// its data sheet (half of 1,513 with sparsity; the first white paper said 800); A100 40GB is both
// forms, which have the same memory; A100 80GB, H100 and H200 without a word are SXM.
constexpr Card all_cards[] = {
    {"RTX 2060", 6, 336, 25.8},           {"RTX 2060 12GB", 12, 336, 28.7},
    {"RTX 2060 Super", 8, 448, 28.7},     {"RTX 2070", 8, 448, 29.9},
    {"RTX 2070 Super", 8, 448, 36.3},     {"RTX 2080", 8, 448, 40.3},
    {"RTX 2080 Super", 8, 496, 44.6},     {"RTX 2080 Ti", 11, 616, 53.8},
    {"RTX 3050", 8, 224, 18.2},           {"RTX 3060", 12, 360, 25.5},
    {"RTX 3060 Ti", 8, 448, 32.4},        {"RTX 3070", 8, 448, 40.6},
    {"RTX 3070 Ti", 8, 608, 43.5},        {"RTX 3080", 10, 760, 59.5},
    {"RTX 3080 12GB", 12, 912, 61.3},     {"RTX 3080 Ti", 12, 912, 68.2},
    {"RTX 3090", 24, 936, 71.0},          {"RTX 3090 Ti", 24, 1'008, 80.0},
    {"RTX 4060", 8, 272, 30.2},           {"RTX 4060 Ti", 8, 288, 44.1},
    {"RTX 4060 Ti 16GB", 16, 288, 44.1},  {"RTX 4070", 12, 504, 58.3},
    {"RTX 4070 Super", 12, 504, 71.0},    {"RTX 4070 Ti", 12, 504, 80.2},
    {"RTX 4070 Ti Super", 16, 672, 88.2}, {"RTX 4080", 16, 717, 97.5},
    {"RTX 4080 Super", 16, 736, 104.4},   {"RTX 4090", 24, 1'008, 165.2},
    {"RTX 5050", 8, 320, 26.3},           {"RTX 5060", 8, 448, 38.4},
    {"RTX 5060 Ti", 8, 448, 47.4},        {"RTX 5060 Ti 16GB", 16, 448, 47.4},
    {"RTX 5070", 12, 672, 61.7},          {"RTX 5070 Ti", 16, 896, 87.9},
    {"RTX 5080", 16, 960, 112.6},         {"RTX 5090", 32, 1'792, 209.5},
    {"A100 40GB", 40, 1'555, 312.0},      {"A100 80GB PCIe", 80, 1'935, 312.0},
    {"A100 80GB", 80, 2'039, 312.0},      {"H100 PCIe", 80, 2'000, 756.0},
    {"H100", 80, 3'350, 989.4},           {"H100 NVL", 94, 3'900, 835.0},
    {"H200", 141, 4'800, 989.4},
};

// What a name has in common with other ways to write it: "GeForce RTX-4090" is "rtx4090", and
// "H100 SXM5" is "h100".
std::string essence(std::string_view name) {
    std::string out;
    for (const char c : name)
        if (c != ' ' && c != '-' && c != '_')
            out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    for (const std::string_view word : {"nvidia", "geforce", "sxm5", "sxm4", "sxm"})
        if (const auto at = out.find(word); at != out.npos) out.erase(at, word.size());
    return out;
}

Hardware to_hardware(const Card& card) {
    constexpr double gib = 1ULL << 30;
    return {.name = std::string(card.name),
            .memory_bytes = static_cast<std::uint64_t>(card.memory_gib * gib),
            .bytes_per_second = card.gigabytes_per_second * 1e9,
            .operations_per_second = card.teraflops * 1e12};
}

}  // namespace

std::span<const Card> cards() { return all_cards; }

base::Result<Hardware> find_card(std::string_view name) {
    const std::string wanted = essence(name);
    // People write the series alone: 4090.
    const bool bare = !wanted.empty() && std::ranges::all_of(wanted.substr(0, 1), [](char c) {
        return c >= '0' && c <= '9';
    });
    std::vector<std::string> known{"auto"};
    for (const Card& card : all_cards) {
        if (essence(card.name) == (bare ? "rtx" + wanted : wanted)) return to_hardware(card);
        known.emplace_back(card.name);
    }
    return base::fail(base::Code::not_found,
                      "there is no device \"{}\"{}\n  next: give --memory and --bandwidth instead, "
                      "or one of: {}",
                      name.substr(0, 60), base::suggestion(name, known), fmt::join(known, ", "));
}

base::Result<Hardware> this_processor(std::optional<double> bytes_per_second) {
    Hardware hardware{.is_processor = true, .threads = cores::this_machine().threads()};
    HF_TRY_ASSIGN(const model::DeviceInfo info, hardware.device->info(""));
    hardware.name = info.product;
    hardware.has_integer_kernels = info.has_integer_kernels;
    hardware.memory_bytes = hardware.device->available_bytes();
    model::LoadOptions options;
    options.threads = hardware.threads;
    HF_TRY_ASSIGN(const auto meter, hardware.device->make_meter(options));
    if (bytes_per_second) {
        hardware.bytes_per_second = *bytes_per_second;
    } else {
        HF_TRY_ASSIGN(hardware.bytes_per_second, perf::usual_bandwidth(*meter));
    }
    if (const auto peak = meter->peak())
        hardware.operations_per_second = peak->operations_per_second;
    return hardware;
}

}  // namespace holdfast::plan
