// The kernels on all threads: cuts each operation into tasks for the pool.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "common/cores/pool.h"
#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/memory.h"
#include "inference/backend/cpu/packed.h"

namespace holdfast::cpu {

// Row-major activations. The stride is padded so that neighbouring rows fall on different cache
// sets and every row begins on a cache line.
struct Rows {
    float* data = nullptr;
    std::size_t stride = 0;  // floats
    float* row(std::size_t index) const { return data + index * stride; }
};
std::size_t row_stride(std::uint32_t columns);

// Where a linear layer's sums go.
struct Sink {
    Rows y;
    Epilogue epilogue = Epilogue::store;
    const float* bias = nullptr;
};

// One thread calls; all operations return when they are done. Allocates nothing after make().
class Ops {
public:
    // Linear layers will see at most rows_max rows of inputs_max columns. The placement is the
    // pool's.
    [[nodiscard]] static base::Result<std::unique_ptr<Ops>> make(Isa isa, std::uint32_t threads,
                                                                 std::uint32_t rows_max,
                                                                 std::uint32_t inputs_max,
                                                                 cores::Placement placement = {});

    cores::Pool& pool() { return *pool_; }
    const cores::Pool& pool() const { return *pool_; }
    Isa isa() const { return kernels_.isa; }

    void linear(const PackedMatrix& weights, Rows x, std::uint32_t rows, const Sink& sink);
    void rms_norm(Rows x, std::uint32_t rows, std::span<const float> weight, float epsilon, Rows y);

    // Rows of one sequence at consecutive positions: job.position and on.
    struct AttentionPart {
        AttentionJob job;
        std::uint32_t rows = 0;
    };
    struct AttentionTask {
        std::uint32_t part = 0, kv_head = 0, begin = 0, end = 0;
    };
    // All parts have the same heads. `tasks` is scratch: one for each row and head is enough.
    void attention(std::span<const AttentionPart> parts, std::span<AttentionTask> tasks);

private:
    Ops(const Kernels& kernels, std::unique_ptr<cores::Pool> pool)
        : kernels_(kernels), pool_(std::move(pool)) {}
    void pack(const PackedMatrix& weights, Rows x, const Kernels& kernels, LinearJob& job);
    std::uint32_t queries_per_task(std::span<const AttentionPart> parts) const;

    const Kernels& kernels_;
    std::unique_ptr<cores::Pool> pool_;
    Floats packed_;  // activations in tiles, or quantized in blocks
};

}  // namespace holdfast::cpu
