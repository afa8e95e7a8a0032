// Has the system read a file's bytes before they are used, so that a cold disk is never idle.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <span>
#include <thread>
#include <vector>

namespace holdfast::tensor {

// Asks for mapped bytes in the order in which they will be used, at most `window_bytes` ahead of
// what has been used: enough to keep the disk at work, little enough to leave memory alone. Has a
// thread of its own, because asking waits where the disk's queue is full; without one (there is
// none to be had) bytes come when they are touched. The mapping must outlive the object.
class ReadAhead {
public:
    using Bytes = std::span<const std::byte>;
    static constexpr std::size_t piece_bytes = std::size_t{8} << 20;
    static constexpr std::size_t window_bytes_usual = std::size_t{256} << 20;

    // madvise(2), which returns before the bytes are there.
    static void ask_system(Bytes bytes);

    // `ask` is called on the object's thread with at most `piece_bytes` at a time.
    explicit ReadAhead(std::vector<Bytes> order, std::size_t window_bytes = window_bytes_usual,
                       std::function<void(Bytes)> ask = ask_system);
    ~ReadAhead();
    ReadAhead(const ReadAhead&) = delete;
    ReadAhead& operator=(const ReadAhead&) = delete;

    // The next `bytes` bytes of the order have been used. Any thread.
    void used(std::size_t bytes);

private:
    void run(const std::vector<Bytes>& order, const std::function<void(Bytes)>& ask);

    std::size_t window_bytes_;
    std::atomic<std::size_t> used_bytes_{0};
    std::atomic<bool> stopping_{false};
    std::jthread thread_;
};

}  // namespace holdfast::tensor
