// What server and client admit.
#pragma once

#include <chrono>
#include <cstddef>

namespace holdfast::http {

struct ServerLimits {
    std::size_t header_bytes_max = 16 * 1024;        // whole head; above: 431
    std::size_t header_fields_max = 100;             // above: 431
    std::size_t body_bytes_max = 8 * 1024 * 1024;    // above: 413
    std::size_t connections_max = 20'000;            // at it accepting pauses, and answers close
    std::chrono::milliseconds head_ms_max{10'000};   // first byte to end of head; above: 408
    std::chrono::milliseconds body_ms_max{60'000};   // above: 408
    std::chrono::milliseconds idle_ms_max{75'000};   // keep-alive connection without a request
    std::chrono::milliseconds write_ms_max{60'000};  // client takes no byte for that long: dropped
};

struct ClientLimits {
    std::size_t idle_per_host_max = 64;
    std::chrono::milliseconds idle_ms_max{30'000};
    std::size_t head_bytes_max = 64 * 1024;
    std::size_t body_bytes_max = 64 * 1024 * 1024;  // for read_all
    std::size_t piece_bytes = 16 * 1024;            // read_some's buffer
};

}  // namespace holdfast::http
