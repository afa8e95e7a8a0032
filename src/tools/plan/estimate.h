// What a model takes and gives on given hardware. Pure arithmetic: weights, keys and values and
// working memory come from the functions that the engine reserves memory by.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/kv_type.h"
#include "tools/perf/work.h"
#include "tools/plan/hardware.h"

namespace holdfast::plan {

// Which service is wanted.
struct Wish {
    std::uint32_t context = 4'096;           // tokens of a sequence: prompt, thinking and answer
    std::optional<std::uint32_t> sequences;  // at a time; none: as many as fit
    tensor::KvType kv_type = tensor::KvType::f32;
};

struct Memory {
    double weights = 0;   // bytes, all of them
    double kv = 0;        // of all sequences at the wanted context
    double working = 0;   // activations and logits
    double overhead = 0;  // what the platform takes: nothing on a processor
    double total() const { return weights + kv + working + overhead; }
};

struct Estimate {
    double kv_bytes_per_token = 0;
    Memory memory;  // with `sequences`, at least one
    bool fits = false;
    std::uint32_t sequences = 0;               // what was wished for, or as many as fit
    double limit_per_second = 0;               // tokens of one sequence, if only bandwidth counted
    double single_per_second = 0;              // tokens of one sequence alone, expected
    double full_per_second = 0;                // of all `sequences` together, expected
    std::optional<double> prefill_per_second;  // prompts of 512 tokens; where arithmetic is known
};

// Which weights a model of this shape can have: quantized rows are whole numbers of blocks.
bool can_have(const tensor::Config& config, tensor::DataType weights);

// Quantized weights are computed with integers where the processor can. The context is cut to the
// model's own.
Estimate estimate(const tensor::Config& config, const model::WeightBytes& weights,
                  const Hardware& hardware, const Wish& wish);

// What estimates assume, with sources: sentences for people.
std::vector<std::string_view> assumptions(const Hardware& hardware);

struct Prices {
    double hour = 0;   // rent of the machine, or what it loses in value
    double watts = 0;  // drawn under load, all the time
    double kilowatt_hour = 0;
    std::optional<double> api_million;  // what somebody else takes for a million output tokens
    double utilization = 0.5;           // share of the hour in which it works at full batch
};

struct Cost {
    double hour = 0;
    double million_tokens = 0;
    double tokens_per_month_max = 0;  // 730 hours of full batch
    // Tokens per month above which the machine is cheaper than the API. None: no API price.
    std::optional<double> break_even_tokens_per_month;
    bool can_break_even() const {
        return break_even_tokens_per_month && *break_even_tokens_per_month <= tokens_per_month_max;
    }
};

// In whatever currency the prices are. full_per_second is above 0.
Cost cost(const Prices& prices, double full_per_second);

}  // namespace holdfast::plan
