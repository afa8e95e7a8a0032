#include "inference/tensor/read_ahead.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <system_error>
#include <utility>

#include "inference/tensor/file_map.h"

namespace holdfast::tensor {

void ReadAhead::ask_system(Bytes bytes) {
    advise(bytes, MADV_WILLNEED);  // where it fails, bytes come when they are touched
}

ReadAhead::ReadAhead(std::vector<Bytes> order, std::size_t window_bytes,
                     std::function<void(Bytes)> ask)
    : window_bytes_(window_bytes) {
    try {
        thread_ = std::jthread([this, order = std::move(order), ask = std::move(ask)] {  //
            run(order, ask);
        });
    } catch (const std::system_error&) {
        // No thread, no reading ahead.
    }
}

ReadAhead::~ReadAhead() {
    stopping_.store(true, std::memory_order_relaxed);
    used(1);  // a change that wakes the thread
}

void ReadAhead::used(std::size_t bytes) {
    used_bytes_.fetch_add(bytes, std::memory_order_release);
    used_bytes_.notify_one();
}

void ReadAhead::run(const std::vector<Bytes>& order, const std::function<void(Bytes)>& ask) {
    std::size_t asked_bytes = 0;
    for (Bytes rest : order) {
        while (!rest.empty()) {
            const Bytes piece = rest.first(std::min(rest.size(), piece_bytes));
            rest = rest.subspan(piece.size());
            std::size_t used_bytes = used_bytes_.load(std::memory_order_acquire);
            while (!stopping_.load(std::memory_order_relaxed) &&
                   asked_bytes + piece.size() > used_bytes + window_bytes_) {
                used_bytes_.wait(used_bytes, std::memory_order_acquire);
                used_bytes = used_bytes_.load(std::memory_order_acquire);
            }
            if (stopping_.load(std::memory_order_relaxed)) return;
            ask(piece);
            asked_bytes += piece.size();
        }
    }
}

}  // namespace holdfast::tensor
