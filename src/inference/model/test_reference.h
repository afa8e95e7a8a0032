// For tests: Qwen2 and Llama written down as the formulas say, in double precision, without any
// cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "common/chat/request.h"
#include "inference/model/test_checkpoint.h"

namespace holdfast::model {

class Reference {
public:
    Reference(const tensor::Config& config, const TestTensors& tensors)
        : config_(config), tensors_(tensors) {}

    // One row of logits per token.
    std::vector<std::vector<double>> logits(std::span<const chat::TokenId> tokens) const {
        std::vector<Vector> hidden;
        const auto& table = tensors_.at("model.embed_tokens.weight").values;
        for (const chat::TokenId token : tokens) {
            const auto* const row = table.data() + static_cast<std::size_t>(token) * config_.hidden;
            hidden.emplace_back(row, row + config_.hidden);
        }
        for (std::uint32_t i = 0; i < config_.layers; ++i)
            run_layer(fmt::format("model.layers.{}.", i), hidden);
        std::vector<Vector> rows;
        for (const Vector& h : hidden)
            rows.push_back(times(config_.tied_head ? "model.embed_tokens.weight" : "lm_head.weight",
                                 norm("model.norm.weight", h)));
        return rows;
    }

private:
    using Vector = std::vector<double>;

    Vector times(const std::string& name, const Vector& x) const {
        const TestTensor& weight = tensors_.at(name);
        Vector y(weight.shape[0]);
        for (std::size_t o = 0; o < y.size(); ++o)
            for (std::size_t k = 0; k < x.size(); ++k)
                y[o] += weight.values[o * x.size() + k] * x[k];
        return y;
    }

    Vector norm(const std::string& name, const Vector& x) const {
        const auto& weight = tensors_.at(name).values;
        double squares = 0;
        for (const double v : x) squares += v * v;
        const double scale =
            1 / std::sqrt(squares / static_cast<double>(x.size()) + config_.rms_norm_epsilon);
        Vector y(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
        return y;
    }

    Vector project(const std::string& name, const Vector& x, std::size_t position,
                   bool turned) const {
        Vector y = times(name + ".weight", x);
        if (config_.qkv_bias) {
            const auto& bias = tensors_.at(name + ".bias").values;
            for (std::size_t i = 0; i < y.size(); ++i) y[i] += bias[i];
        }
        const std::size_t dim = config_.head_dim, half = dim / 2;
        for (std::size_t head = 0; turned && head < y.size() / dim; ++head)
            for (std::size_t i = 0; i < half; ++i) {
                const double angle = static_cast<double>(position) * frequency(i);
                double& a = y[head * dim + i];
                double& b = y[head * dim + i + half];
                const double low = a * std::cos(angle) - b * std::sin(angle);
                b = b * std::cos(angle) + a * std::sin(angle);
                a = low;
            }
        return y;
    }

    // Of the pair i of a head. Long waves turn slower by the factor, short ones as before.
    double frequency(std::size_t i) const {
        const double plain =
            std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / config_.head_dim);
        if (!config_.rope_divisors.empty()) return plain / config_.rope_divisors[i];
        if (!config_.rope_scaling) return plain;
        const tensor::RopeScaling& scaling = *config_.rope_scaling;
        const double waves = scaling.original_context * plain / (2 * std::numbers::pi);
        const double smooth =
            std::clamp((waves - scaling.low_frequency_factor) /
                           (scaling.high_frequency_factor - scaling.low_frequency_factor),
                       0.0, 1.0);
        return (1 - smooth) * plain / scaling.factor + smooth * plain;
    }

    void run_layer(const std::string& prefix, std::vector<Vector>& hidden) const {
        std::vector<Vector> queries, keys, values;
        for (std::size_t t = 0; t < hidden.size(); ++t) {
            const Vector x = norm(prefix + "input_layernorm.weight", hidden[t]);
            queries.push_back(project(prefix + "self_attn.q_proj", x, t, true));
            keys.push_back(project(prefix + "self_attn.k_proj", x, t, true));
            values.push_back(project(prefix + "self_attn.v_proj", x, t, false));
        }
        for (std::size_t t = 0; t < hidden.size(); ++t) {
            add(hidden[t], times(prefix + "self_attn.o_proj.weight",
                                 attend(queries[t], {keys.begin(), keys.begin() + t + 1}, values)));
            const Vector x = norm(prefix + "post_attention_layernorm.weight", hidden[t]);
            Vector gate = times(prefix + "mlp.gate_proj.weight", x);
            const Vector up = times(prefix + "mlp.up_proj.weight", x);
            for (std::size_t i = 0; i < gate.size(); ++i)
                gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
            add(hidden[t], times(prefix + "mlp.down_proj.weight", gate));
        }
    }

    Vector attend(const Vector& query, std::span<const Vector> keys,
                  std::span<const Vector> values) const {
        const std::size_t dim = config_.head_dim;
        Vector out(query.size());
        for (std::size_t head = 0; head < config_.heads; ++head) {
            const std::size_t kv = head / (config_.heads / config_.kv_heads) * dim;
            Vector weights(keys.size());
            double sum = 0;
            for (std::size_t t = 0; t < keys.size(); ++t) {
                for (std::size_t d = 0; d < dim; ++d)
                    weights[t] += query[head * dim + d] * keys[t][kv + d];
                weights[t] = std::exp(weights[t] / std::sqrt(static_cast<double>(dim)));
                sum += weights[t];
            }
            for (std::size_t t = 0; t < keys.size(); ++t)
                for (std::size_t d = 0; d < dim; ++d)
                    out[head * dim + d] += weights[t] / sum * values[t][kv + d];
        }
        return out;
    }

    static void add(Vector& to, const Vector& what) {
        for (std::size_t i = 0; i < to.size(); ++i) to[i] += what[i];
    }

    const tensor::Config& config_;
    const TestTensors& tensors_;
};

}  // namespace holdfast::model
