#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast::keeper {

// Lines for the person who started the service. Never blocks: what a stopped terminal or a full
// pipe does not take is counted and dropped. Keeper's thread only.
class Console {
public:
    explicit Console(int fd) : fd_(fd) {}
    void line(std::string_view text);

private:
    bool write_now(std::string_view text) const;

    int fd_;
    std::uint64_t dropped_ = 0;
};

}  // namespace holdfast::keeper
