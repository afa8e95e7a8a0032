// Attention, the plain implementation: a block for each token and key-value head.
#include <cuda_runtime.h>

#include "inference/backend/cuda/attention.cuh"

namespace holdfast::cuda {
namespace {

__global__ void __launch_bounds__(attention_threads, 3) attention_kernel(Attention a) {
    extern __shared__ __align__(1024) std::uint8_t shared[];
    AttentionWorker worker(a, blockIdx.x, blockIdx.y, shared);
    worker.load_queries();
    Attended all;
    for (std::uint32_t first = 0; first <= worker.row().position; first += key_chunk) {
        worker.load_chunk(first);
        all.merge(worker.attend(first));
        __syncthreads();
    }
    worker.store(all);
}

}  // namespace

int launch(const Attention& job, Stream stream) {
    if (job.rows.count == 0) return cudaSuccess;
    const std::uint32_t bytes = attention_shared_bytes(job.cache_shape);
    const cudaError_t allowed = cudaFuncSetAttribute(
        attention_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (allowed != cudaSuccess) return allowed;
    attention_kernel<<<dim3(job.rows.count, job.cache_shape.kv_heads), attention_threads, bytes,
                       static_cast<cudaStream_t>(stream)>>>(job);
    return cudaGetLastError();
}

}  // namespace holdfast::cuda
