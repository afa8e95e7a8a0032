// The beginning of a step, and the packing of weights at load.
#include <cuda_runtime.h>

#include "inference/backend/cuda/exact.cuh"
#include "inference/backend/cuda/kernels.h"

namespace holdfast::cuda {
namespace {

// A block for each token; a warp for each tile of 64 values, a lane for values i and i + 8 of it:
// the tree of squares of profile.h.
__global__ void __launch_bounds__(256) embed_kernel(Embed e) {
    const std::uint32_t token = blockIdx.x, lane = threadIdx.x % 32, hidden = e.out.hidden;
    const std::uint16_t* row = e.table + std::size_t(e.rows.rows[token].token) * hidden;
    for (std::uint32_t tile = threadIdx.x / 32; tile * 64 < hidden; tile += blockDim.x / 32) {
        float sum = 0;
        for (std::uint32_t upper = 0; upper < 2; ++upper) {
            const std::uint32_t k = tile * 64 + lane / 8 * 16 + upper * 8 + lane % 8;
            if (k >= hidden) continue;
            const float h = __uint_as_float(std::uint32_t{row[k]} << 16);
            e.out.h[std::size_t{token} * hidden + k] = h;
            *reinterpret_cast<std::uint16_t*>(static_cast<std::uint8_t*>(e.out.x) +
                                              activation_at(e.rows.capacity, token, k)) =
                static_cast<std::uint16_t>(pack_bf16(__fmul_rn(h, e.out.norm[k]), 0));
            sum = __fadd_rn(sum, __fmul_rn(h, h));
        }
        for (int lanes = 1; lanes < 32; lanes *= 2)
            sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, lanes));
        if (lane == 0) e.out.squares[std::size_t{tile} * e.rows.capacity + token] = sum;
    }
}

__global__ void __launch_bounds__(256) pack_kernel(Pack p) {
    const std::uint32_t at = blockIdx.x;
    const std::uint32_t row = p.half == 0 ? at : paired_row(at, p.half);
    if (row < p.first || row >= p.first + p.count) return;
    const std::uint16_t* from = p.from + std::size_t{row - p.first} * p.shape.inputs;
    for (std::uint32_t k = threadIdx.x; k < p.shape.inputs; k += blockDim.x)
        *reinterpret_cast<std::uint16_t*>(static_cast<std::uint8_t*>(p.to) +
                                          weight_at(p.shape.blocks(), at, k)) = from[k];
}

}  // namespace

int launch(const Embed& job, Stream stream) {
    if (job.rows.count == 0) return cudaSuccess;
    embed_kernel<<<job.rows.count, 256, 0, static_cast<cudaStream_t>(stream)>>>(job);
    return cudaGetLastError();
}

int launch(const Pack& job, Stream stream) {
    pack_kernel<<<job.shape.rows, 256, 0, static_cast<cudaStream_t>(stream)>>>(job);
    return cudaGetLastError();
}

}  // namespace holdfast::cuda
