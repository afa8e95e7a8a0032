// cuda_lab [EXPERIMENT...]: measures the card (all experiments, or those named).
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <span>
#include <string_view>

#include "inference/backend/cuda/device.h"
#include "inference/backend/cuda/lab/lab.h"

namespace {

struct Experiment {
    std::string_view name;
    void (*run)();
};

constexpr Experiment experiments[] = {
    {"streams", holdfast::cuda::lab::streams},     {"consumers", holdfast::cuda::lab::consumers},
    {"exchanges", holdfast::cuda::lab::exchanges}, {"products", holdfast::cuda::lab::products},
    {"launches", holdfast::cuda::lab::launches},   {"steps", holdfast::cuda::lab::steps},
};

}  // namespace

int main(int argc, char** argv) {
    const std::span<char*> names(argv + 1, static_cast<std::size_t>(argc - 1));
    for (const std::string_view name : names)
        if (std::ranges::find(experiments, name, &Experiment::name) == std::end(experiments)) {
            fmt::print(stderr, "there is no experiment {}; there are:", name);
            for (const Experiment& one : experiments) fmt::print(stderr, " {}", one.name);
            fmt::print(stderr, "\n");
            return 2;
        }
    const auto device = holdfast::cuda::open_device(0);
    if (!device) {
        fmt::print(stderr, "{}\n", device.error().what);
        return 1;
    }
    fmt::print("{}: compute capability {}.{}, {} multiprocessors, {} MB\n", device->name,
               device->major, device->minor, device->multiprocessors, device->memory_bytes >> 20);
    if (device->major != 9) {
        fmt::print(stderr, "the experiments are written for compute capability 9.0\n");
        return 1;
    }
    for (const Experiment& one : experiments) {
        if (!names.empty() && std::ranges::find(names, one.name) == names.end()) continue;
        fmt::print("\n{}\n", one.name);
        std::fflush(stdout);
        one.run();
        std::fflush(stdout);
    }
    return 0;
}
