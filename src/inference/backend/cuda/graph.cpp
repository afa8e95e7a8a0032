#include "inference/backend/cuda/graph.h"

#include <cuda_runtime_api.h>

#include "inference/backend/cuda/call.h"

namespace holdfast::cuda {

Graph::~Graph() {
    // A context that an error has ended frees everything itself.
    if (ready_ != nullptr)
        static_cast<void>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(ready_)));
}

base::Result<Graph> Graph::record(const std::function<base::Result<>(Stream)>& launches) {
    cudaStream_t stream = nullptr;
    HF_TRY(succeeded(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream"));
    base::Result<> recorded =
        succeeded(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording");
    if (recorded) recorded = launches(stream);
    cudaGraph_t graph = nullptr;
    const base::Result<> ended = succeeded(cudaStreamEndCapture(stream, &graph), "recording");
    static_cast<void>(cudaStreamDestroy(stream));
    HF_TRY(recorded);
    HF_TRY(ended);
    cudaGraphExec_t ready = nullptr;
    const base::Result<> made = succeeded(cudaGraphInstantiate(&ready, graph, 0), "a graph");
    static_cast<void>(cudaGraphDestroy(graph));
    HF_TRY(made);
    Graph result;
    result.ready_ = ready;
    return result;
}

base::Result<> Graph::launch() const {
    return succeeded(cudaGraphLaunch(static_cast<cudaGraphExec_t>(ready_), nullptr), "a step");
}

}  // namespace holdfast::cuda
