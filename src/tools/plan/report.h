// Plans as tables for people and as JSON for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/plan/estimate.h"
#include "tools/plan/hardware.h"

namespace holdfast::plan {

// One model and the weights that it is to be tried with.
struct Candidate {
    struct Precision {
        std::string name;
        model::WeightBytes bytes;
    };
    std::string name;
    tensor::Config config;
    std::vector<Precision> precisions;
};

struct Plan {
    Hardware hardware;
    Wish wish;
    std::optional<Prices> prices;
    std::vector<Candidate> candidates;
};

// With one candidate all its precisions in detail; with several those that fit, a line each.
std::string to_table(const Plan& plan);

std::string to_json(const Plan& plan);

}  // namespace holdfast::plan
