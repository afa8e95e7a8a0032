// Speed of linear layers of the shapes of DeepSeek-R1-Distill-Qwen-1.5B: arithmetic (a multiply-add
// is two operations) and weights read per second, beside the bandwidth that plain reading reaches.
// Each run goes through many matrices in turn, so that weights come from memory as in a model.
// Names: kind of numbers / threads / rows / outputs x inputs.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/ops.h"
#include "inference/backend/cpu/packed.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;

constexpr std::size_t weights_bytes_min = std::size_t{192} << 20;  // more than the caches hold
constexpr std::uint32_t rows_max = 512, inputs_max = 8'960;

struct Kind {
    DataType type = DataType::bf16;
    Numerics numerics = Numerics::portable;
};
struct Shape {
    std::uint32_t outputs = 0, inputs = 0;
};

class Layers {
public:
    Layers(const Kind& kind, const Shape& shape) {
        const std::size_t bytes =
            PackedMatrix::needed_bytes(kind.type, shape.outputs, shape.inputs);
        for (std::size_t all = 0; all < weights_bytes_min; all += bytes) {
            auto matrix =
                PackedMatrix::reserve(kind.type, shape.outputs, shape.inputs, kind.numerics);
            if (!matrix) std::abort();
            std::memset(matrix->data(), 0x11, bytes);  // small ordinary numbers in every format
            matrices_.push_back(std::move(matrix).value());
        }
    }
    const PackedMatrix& next() { return matrices_[turn_++ % matrices_.size()]; }

private:
    std::vector<PackedMatrix> matrices_;
    std::size_t turn_ = 0;
};

std::unique_ptr<Ops> make_ops(std::uint32_t threads) {
    const auto isa = choose_isa("");
    if (!isa) std::abort();
    auto ops = Ops::make(*isa, threads, rows_max, inputs_max);
    if (!ops) std::abort();
    return std::move(ops).value();
}

void linear(benchmark::State& state, const Kind& kind, const Shape& shape, std::uint32_t threads,
            std::uint32_t rows) {
    Layers layers(kind, shape);
    const std::unique_ptr<Ops> ops = make_ops(threads);
    std::vector<float> x(rows * row_stride(shape.inputs), 0.5F);
    std::vector<float> y(rows * row_stride(shape.outputs));
    for (auto _ : state)
        ops->linear(layers.next(), {x.data(), row_stride(shape.inputs)}, rows,
                    {{y.data(), row_stride(shape.outputs)}});
    const auto per_second = [&](double work) {
        return benchmark::Counter(work * static_cast<double>(state.iterations()) / 1e9,
                                  benchmark::Counter::kIsRate);
    };
    state.counters["GOP/s"] = per_second(2.0 * rows * shape.outputs * shape.inputs);
    state.counters["GB/s"] = per_second(
        static_cast<double>(PackedMatrix::needed_bytes(kind.type, shape.outputs, shape.inputs)));
}

void read_memory(benchmark::State& state, std::uint32_t threads) {
    const std::unique_ptr<Ops> ops = make_ops(threads);
    Layers layers({DataType::f32}, {1'536, 8'960});
    constexpr std::size_t parts = 16;
    std::vector<std::uint64_t> sums(parts * 8);
    const std::size_t bytes = layers.next().panel_bytes() * layers.next().panels();
    for (auto _ : state) {
        const auto* const words = reinterpret_cast<const std::uint64_t*>(layers.next().data());
        const std::size_t share = bytes / 8 / parts;
        ops->pool().run(parts, bytes, [&](std::uint32_t part) {
            std::uint64_t lanes[32] = {};
            for (std::size_t i = part * share; i < (part + 1) * share; i += 32)
                for (std::size_t j = 0; j < 32; ++j) lanes[j] += words[i + j];
            for (const std::uint64_t lane : lanes) sums[std::size_t{part} * 8] += lane;
        });
        benchmark::DoNotOptimize(sums.data());
    }
    state.counters["GB/s"] = benchmark::Counter(
        static_cast<double>(bytes * state.iterations()) / 1e9, benchmark::Counter::kIsRate);
}

// One thread is measured by the time it ran: others on the machine disturb that less.
void add(const std::string& name, std::uint32_t threads, auto function, auto... arguments) {
    auto* const added = benchmark::RegisterBenchmark(name.c_str(), function, arguments...);
    if (threads > 1) added->UseRealTime();
}

int register_all() {
    std::vector<std::pair<std::string, Kind>> kinds;
    for (int i = 0; i < static_cast<int>(DataType::other); ++i) {
        const auto type = static_cast<DataType>(i);
        kinds.emplace_back(tensor::name(type), Kind{type});
    }
    for (const Numerics numerics : {Numerics::bf16dot, Numerics::amx})
        if (has_numerics(numerics))
            kinds.emplace_back(name(numerics), Kind{DataType::bf16, numerics});
    for (const std::uint32_t threads : {1U, std::thread::hardware_concurrency()}) {
        add(fmt::format("read/{}", threads), threads, read_memory, threads);
        for (const auto& [kind_name, kind] : kinds)
            for (const std::uint32_t rows : {1U, 8U, 16U, 32U, 512U})
                for (const Shape& shape : {Shape{1'536, 8'960}, Shape{17'920, 1'536}})
                    add(fmt::format("{}/{}/{}/{}x{}", kind_name, threads, rows, shape.outputs,
                                    shape.inputs),
                        threads, linear, kind, shape, threads, rows);
    }
    return 0;
}

[[maybe_unused]] const int registered = register_all();

}  // namespace
}  // namespace holdfast::cpu
