// Launches recorded once and repeated with one call.
#pragma once

#include <functional>
#include <utility>

#include "common/base/error.h"
#include "inference/backend/cuda/kernels.h"

namespace holdfast::cuda {

// Owned by one thread. What its kernels point at must outlive it.
class Graph {
public:
    Graph() = default;
    Graph(Graph&& other) noexcept : ready_(std::exchange(other.ready_, nullptr)) {}
    Graph& operator=(Graph&& other) noexcept {
        std::swap(ready_, other.ready_);
        return *this;
    }
    ~Graph();

    // What `launches` launches into the stream that it is given. Nothing runs.
    static base::Result<Graph> record(const std::function<base::Result<>(Stream)>& launches);

    // Behind everything that the thread has launched before.
    base::Result<> launch() const;

private:
    void* ready_ = nullptr;  // cudaGraphExec_t
};

}  // namespace holdfast::cuda
