#include <cuda_runtime.h>

#include "inference/backend/cuda/layout.h"
#include "inference/backend/cuda/mma.cuh"
#include "inference/backend/cuda/tensor_core_test.h"
#include "inference/backend/cuda/wgmma.cuh"

namespace holdfast::cuda::testing {
namespace {

struct Product {
    const std::uint16_t* a;
    const std::uint16_t* b;
    float* d;
    std::uint32_t k, columns;
};

// Two neighbouring elements of a row of `p`.
__device__ std::uint32_t pair_of(const std::uint16_t* p, std::uint32_t row, std::uint32_t k,
                                 std::uint32_t stride) {
    return *reinterpret_cast<const std::uint32_t*>(p + std::size_t{row} * stride + k);
}

__device__ void fragment_of(std::uint32_t (&r)[4], const std::uint16_t* p, std::uint32_t row,
                            std::uint32_t k, std::uint32_t stride) {
    const std::uint32_t lane = threadIdx.x % 32, g = lane / 4, t = lane % 4 * 2;
    r[0] = pair_of(p, row + g, k + t, stride);
    r[1] = pair_of(p, row + g + 8, k + t, stride);
    r[2] = pair_of(p, row + g, k + t + 8, stride);
    r[3] = pair_of(p, row + g + 8, k + t + 8, stride);
}

template <int columns, bool bf16, bool registers>
__global__ void __launch_bounds__(128) warpgroup_kernel(Product p) {
    __shared__ __align__(1024) std::uint8_t a[block_bytes], b[columns * 128];
    float d[columns / 2] = {};
    for (std::uint32_t k = 0; k < p.k; k += block_k) {
        __syncthreads();
        for (std::uint32_t i = threadIdx.x; i < tile_rows * block_k; i += blockDim.x)
            *reinterpret_cast<std::uint16_t*>(a + swizzled(i / block_k, i % block_k)) =
                p.a[std::size_t{i / block_k} * p.k + k + i % block_k];
        for (std::uint32_t i = threadIdx.x; i < columns * block_k; i += blockDim.x)
            *reinterpret_cast<std::uint16_t*>(b + swizzled(i / block_k, i % block_k)) =
                p.b[std::size_t{i / block_k} * p.k + k + i % block_k];
        fence_async_shared();
        __syncthreads();
        std::uint32_t fragments[4][4];
        for (std::uint32_t step = 0; step < 4; ++step)
            fragment_of(fragments[step], p.a, threadIdx.x / 32 * 16, k + step * step_k, p.k);
        keep(d);
        wgmma_fence();
#pragma unroll
        for (std::uint32_t step = 0; step < 4; ++step) {
            const std::uint64_t of_a = operand(shared_address(a), step),
                                of_b = operand(shared_address(b), step);
            if constexpr (registers && bf16) Wgmma<columns>::rs_bf16(d, fragments[step], of_b);
            if constexpr (registers && !bf16) Wgmma<columns>::rs_f16(d, fragments[step], of_b);
            if constexpr (!registers && bf16) Wgmma<columns>::ss_bf16(d, of_a, of_b);
            if constexpr (!registers && !bf16) Wgmma<columns>::ss_f16(d, of_a, of_b);
        }
        wgmma_commit();
        wgmma_wait<0>();
        keep(d);
    }
    const std::uint32_t row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
    for (int i = 0; i < columns / 2; ++i)
        p.d[(row + i % 4 / 2 * 8) * columns + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = d[i];
}

template <bool bf16>
__device__ void step_of(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
    if constexpr (bf16)
        mma_bf16(d, a, b);
    else
        mma_f16(d, a, b);
}

// A warp of each block computes 16 rows of the left operand and all of the right.
template <bool bf16, bool swapped>
__global__ void __launch_bounds__(32) warp_kernel(Product p) {
    const std::uint16_t* left = swapped ? p.b : p.a;
    const std::uint16_t* right = swapped ? p.a : p.b;
    const std::uint32_t rows = swapped ? p.columns : tile_rows;
    const std::uint32_t columns = swapped ? tile_rows : p.columns;
    const std::uint32_t row = blockIdx.x * 16, g = threadIdx.x / 4, t = threadIdx.x % 4 * 2;
    for (std::uint32_t column = 0; column < columns; column += 8) {
        float d[4] = {};
        for (std::uint32_t k = 0; k < p.k; k += step_k) {
            std::uint32_t a[4] = {};
            a[0] = pair_of(left, row + g, k + t, p.k);
            a[2] = pair_of(left, row + g, k + t + 8, p.k);
            if (row + g + 8 < rows) {
                a[1] = pair_of(left, row + g + 8, k + t, p.k);
                a[3] = pair_of(left, row + g + 8, k + t + 8, p.k);
            }
            const std::uint32_t b[2] = {pair_of(right, column + g, k + t, p.k),
                                        pair_of(right, column + g, k + t + 8, p.k)};
            step_of<bf16>(d, a, b);
        }
        for (std::uint32_t i = 0; i < 4; ++i) {
            const std::uint32_t r = row + g + i / 2 * 8, c = column + t + i % 2;
            if (r < rows) p.d[swapped ? c * p.columns + r : r * p.columns + c] = d[i];
        }
    }
}

template <int columns, bool registers>
void run_warpgroup(Operand type, const Product& p) {
    if (type == Operand::bf16)
        warpgroup_kernel<columns, true, registers><<<1, 128>>>(p);
    else
        warpgroup_kernel<columns, false, registers><<<1, 128>>>(p);
}

template <bool registers>
void choose_columns(Operand type, const Product& p) {
    switch (p.columns) {
        case 8:
            return run_warpgroup<8, registers>(type, p);
        case 16:
            return run_warpgroup<16, registers>(type, p);
        case 32:
            return run_warpgroup<32, registers>(type, p);
        case 64:
            return run_warpgroup<64, registers>(type, p);
        case 96:
            return run_warpgroup<96, registers>(type, p);
        case 128:
            return run_warpgroup<128, registers>(type, p);
        case 192:
            return run_warpgroup<192, registers>(type, p);
        case 256:
            return run_warpgroup<256, registers>(type, p);
        default:
            break;
    }
}

template <bool swapped>
void run_warp(Operand type, const Product& p) {
    const std::uint32_t blocks = padded(swapped ? p.columns : tile_rows, 16) / 16;
    if (type == Operand::bf16)
        warp_kernel<true, swapped><<<blocks, 32>>>(p);
    else
        warp_kernel<false, swapped><<<blocks, 32>>>(p);
}

}  // namespace

int multiply(Way way, Operand type, std::uint32_t columns, const std::uint16_t* a,
             const std::uint16_t* b, std::uint32_t k, float* d) {
    const Product product{a, b, d, k, columns};
    if (way == Way::warpgroup_shared) choose_columns<false>(type, product);
    if (way == Way::warpgroup_registers) choose_columns<true>(type, product);
    if (way == Way::warp) run_warp<false>(type, product);
    if (way == Way::warp_swapped) run_warp<true>(type, product);
    const cudaError_t status = cudaGetLastError();
    return status != cudaSuccess ? status : cudaDeviceSynchronize();
}

}  // namespace holdfast::cuda::testing
