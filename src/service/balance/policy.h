// Which instance: a pure choice over a span of seats. Discovery, health and locks are others' work.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "common/base/error.h"

namespace holdfast::balance {

// One instance that could take the request right now.
struct Seat {
    std::uint32_t outstanding = 0;    // exchanges that this gateway has with it
    std::uint32_t reported_load = 0;  // running + waiting by its own last word
    double weight = 1.0;
    std::uint64_t key = 0;  // of the instance: the same in every span, and of no other
};

// What a policy may know of the request.
struct Ask {
    std::uint64_t random = 0;
};

using SeatIndex = std::size_t;

class Policy {
public:
    virtual ~Policy() = default;
    // Index into `seats`, or nothing if there are none. Called from every event loop at once.
    virtual std::optional<SeatIndex> choose(std::span<const Seat> seats, const Ask& ask) = 0;
};

struct PolicyKind {
    std::string_view name;
    std::string_view summary;
    std::unique_ptr<Policy> (*make)();
};

std::span<const PolicyKind> policies();
// Errors fit behind the name of the setting that has `name`.
base::Result<std::unique_ptr<Policy>> make_policy(std::string_view name);

}  // namespace holdfast::balance
