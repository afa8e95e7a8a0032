// A chain of kernels of one decode step, as a graph: each reads its weights and needs what the one
// before it wrote. What is lost from one to the next, and what programmatic launch gets back.
#include "inference/backend/cuda/copy.cuh"
#include "inference/backend/cuda/lab/lab.cuh"
#include "inference/backend/cuda/lab/lab.h"

namespace holdfast::cuda::lab {
namespace {

constexpr std::uint32_t copy_bytes = 24576, slots = 4, chain = 60;

enum class Edges { full, late, early };  // early: weights are asked for before the wait

struct Link {
    const std::uint8_t* weights;
    std::uint32_t copies;  // of each block; 0: an empty kernel
    Edges edges;
};

__global__ void __launch_bounds__(64, 2) link_kernel(Link link) {
    extern __shared__ __align__(128) std::uint8_t ring[];
    __shared__ Barrier full[slots];
    if (threadIdx.x == 0) {
        for (Barrier& barrier : full) barrier_init(&barrier, 1);
        fence_barrier_init();
    }
    __syncthreads();
    if (link.edges != Edges::full) let_next_begin();
    if (link.edges == Edges::late) wait_for_previous();
    if (threadIdx.x == 0) {
        std::uint32_t asked = 0;
        const auto ask = [&] {
            barrier_expect(&full[asked % slots], copy_bytes);
            bulk_copy(ring + asked % slots * copy_bytes,
                      link.weights + (std::size_t{blockIdx.x} * link.copies + asked) * copy_bytes,
                      copy_bytes, &full[asked % slots]);
            ++asked;
        };
        while (asked < link.copies && asked < slots) ask();
        if (link.edges == Edges::early) wait_for_previous();
        for (std::uint32_t come = 0; come < link.copies; ++come) {
            barrier_wait(&full[come % slots], come / slots % 2);
            if (asked < link.copies) ask();
        }
    } else if (link.edges == Edges::early) {
        wait_for_previous();
    }
}

void launch_chain(cudaStream_t stream, const Memory& weights, std::uint32_t copies, Edges edges) {
    const int blocks = multiprocessors();
    const std::size_t bytes = std::size_t{copies} * copy_bytes * blocks;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(blocks));
    config.blockDim = dim3(64);
    config.dynamicSmemBytes = slots * copy_bytes;
    config.stream = stream;
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &attribute;
    config.numAttrs = edges == Edges::full ? 0 : 1;
    std::size_t offset = 0;
    for (std::uint32_t i = 0; i < chain; ++i) {
        if (offset + bytes > weights.bytes()) offset = 0;
        check(cudaLaunchKernelEx(&config, link_kernel, Link{weights.as() + offset, copies, edges}),
              "link");
        offset += bytes;
    }
}

std::size_t programmatic_edges(cudaGraph_t graph) {
    std::size_t count = 0;
    check(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &count), "edges");
    std::vector<cudaGraphNode_t> from(count), to(count);
    std::vector<cudaGraphEdgeData> data(count);
    check(cudaGraphGetEdges(graph, from.data(), to.data(), data.data(), &count), "edges");
    return static_cast<std::size_t>(std::count_if(data.begin(), data.end(), [](const auto& edge) {
        return edge.type == cudaGraphDependencyTypeProgrammatic;
    }));
}

void measure(const Memory& weights, std::uint32_t copies, Edges edges) {
    cudaStream_t stream;
    check(cudaStreamCreate(&stream), "stream");
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
    launch_chain(stream, weights, copies, edges);
    check(cudaStreamEndCapture(stream, &graph), "capture");
    check(cudaGraphInstantiate(&ready, graph, 0), "graph");
    const float us = median_us([&] { check(cudaGraphLaunch(ready, nullptr), "graph"); }, 15);
    const double bytes = double(copies) * copy_bytes * multiprocessors();
    constexpr const char* names[] = {"full edges", "programmatic, loads after the wait",
                                     "programmatic, loads before the wait"};
    std::printf(
        "  %2u kernels of %5.1f MB, %-36s %6.2f us each, %5.3f TB/s, %zu programmatic edges\n",
        chain, bytes / 1e6, names[static_cast<int>(edges)], us / chain, bytes * chain / us / 1e6,
        programmatic_edges(graph));
    check(cudaGraphExecDestroy(ready), "graph");
    check(cudaGraphDestroy(graph), "graph");
    check(cudaStreamDestroy(stream), "stream");
}

}  // namespace

void launches() {
    const Memory weights(std::size_t{2} << 30);
    allow_shared_memory(link_kernel, slots * copy_bytes);
    for (const std::uint32_t copies : {0u, 2u, 9u, 17u})
        for (const Edges edges : {Edges::full, Edges::late, Edges::early})
            measure(weights, copies, edges);
}

}  // namespace holdfast::cuda::lab
