// A decoder of random weights, and the same model in double precision.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "inference/backend/cuda/decoder.h"
#include "inference/backend/cuda/test_operands.h"

namespace holdfast::cuda::testing {

using Tokens = std::vector<std::int32_t>;

// Quick and repeatable; tests draw millions.
class Noise {
public:
    explicit Noise(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}

    std::uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        return state_ ^= state_ << 17;
    }
    float even() { return static_cast<float>(static_cast<std::int32_t>(next())) * 0x1p-31F; }

private:
    std::uint64_t state_;
};

class RandomModel {
public:
    explicit RandomModel(const DecoderShape& shape) : shape_(shape) {
        const std::uint32_t queries = shape.heads * shape.head_dim;
        const std::uint32_t keys = shape.kv_heads * shape.head_dim;
        for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
            draw(Matrix::query, layer, queries, shape.hidden);
            draw(Matrix::key, layer, keys, shape.hidden);
            draw(Matrix::value, layer, keys, shape.hidden);
            draw(Matrix::output, layer, shape.hidden, queries);
            draw(Matrix::gate, layer, shape.ffn, shape.hidden);
            draw(Matrix::up, layer, shape.ffn, shape.hidden);
            draw(Matrix::down, layer, shape.hidden, shape.ffn);
            draw(Vector::attention_norm, layer, shape.hidden, 1);
            draw(Vector::ffn_norm, layer, shape.hidden, 1);
            if (!shape.bias) continue;
            draw(Vector::query, layer, queries, 0);
            draw(Vector::key, layer, keys, 0);
            draw(Vector::value, layer, keys, 0);
        }
        draw(Vector::last_norm, 0, shape.hidden, 1);
        draw(Matrix::embedding, 0, shape.vocab, shape.hidden);
        draw(Matrix::head, 0, shape.vocab, shape.hidden);
        // Any pair of numbers will do for a turn, and these are the same with every C library.
        turns_.resize(std::size_t{shape.positions} * shape.head_dim);
        for (float& turn : turns_) turn = noise_.even();
    }

    // Everything that was drawn, in pieces of uneven size.
    void upload_to(Decoder& decoder) const {
        for (const auto& [key, rows] : matrices_) {
            const std::size_t inputs = inputs_of(key.first), first = rows.size() / inputs / 3;
            const std::span<const std::uint16_t> all(rows);
            ASSERT_TRUE(decoder.upload(key.first, key.second, static_cast<std::uint32_t>(first),
                                       all.subspan(first * inputs)));
            ASSERT_TRUE(decoder.upload(key.first, key.second, 0, all.first(first * inputs)));
        }
        for (const auto& [key, values] : vectors_)
            ASSERT_TRUE(decoder.upload(key.first, key.second, values));
        ASSERT_TRUE(decoder.upload_rotary(0, turns_));
    }

    // Logits of every position of one sequence, [position][vocab].
    std::vector<std::vector<double>> logits(const Tokens& tokens) const;

private:
    using Row = std::vector<double>;

    void draw(Matrix matrix, std::uint32_t layer, std::uint32_t rows, std::uint32_t inputs) {
        std::vector<std::uint16_t>& bits = matrices_[{matrix, layer}];
        bits.resize(std::size_t{rows} * inputs);
        const float scale =
            matrix == Matrix::embedding ? 1 : 2 / std::sqrt(static_cast<float>(inputs));
        for (std::uint16_t& value : bits) value = to_bf16(noise_.even() * scale);
    }
    void draw(Vector vector, std::uint32_t layer, std::uint32_t size, float middle) {
        std::vector<float>& values = vectors_[{vector, layer}];
        for (std::uint32_t i = 0; i < size; ++i) values.push_back(middle + noise_.even() * 0.5F);
    }
    std::size_t inputs_of(Matrix matrix) const {
        if (matrix == Matrix::output) return std::size_t{shape_.heads} * shape_.head_dim;
        return matrix == Matrix::down ? shape_.ffn : shape_.hidden;
    }

    Row multiply(Matrix matrix, std::uint32_t layer, const Row& x) const {
        const auto& rows = matrices_.at({matrix, layer});
        Row y(rows.size() / x.size());
        for (std::size_t i = 0; i < rows.size(); ++i)
            y[i / x.size()] += decode(Operand::bf16, rows[i]) * x[i % x.size()];
        return y;
    }
    Row add_bias(Vector vector, std::uint32_t layer, Row y) const {
        if (shape_.bias)
            for (std::size_t i = 0; i < y.size(); ++i) y[i] += vectors_.at({vector, layer})[i];
        return y;
    }
    Row normed(Vector vector, std::uint32_t layer, const Row& h) const {
        double sum = 0;
        for (const double value : h) sum += value * value;
        Row x(h.size());
        for (std::size_t i = 0; i < h.size(); ++i)
            x[i] = h[i] * vectors_.at({vector, layer})[i] /
                   std::sqrt(sum / static_cast<double>(h.size()) + shape_.epsilon);
        return x;
    }
    void rotate(Row& x, std::size_t position) const {
        const std::size_t dim = shape_.head_dim, half = dim / 2;
        for (std::size_t head = 0; head < x.size(); head += dim)
            for (std::size_t i = 0; i < half; ++i) {
                const double c = turns_[position * dim + i], s = turns_[position * dim + half + i];
                const double low = x[head + i], high = x[head + half + i];
                x[head + i] = low * c - high * s;
                x[head + half + i] = high * c + low * s;
            }
    }
    Row attend(const Row& query, const std::vector<Row>& keys,
               const std::vector<Row>& values) const {
        const std::size_t dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
        Row out(query.size());
        for (std::size_t head = 0; head < shape_.heads; ++head) {
            const std::size_t at = head * dim, from = head / group * dim;
            Row weights;
            for (const Row& key : keys) {
                double score = 0;
                for (std::size_t d = 0; d < dim; ++d) score += query[at + d] * key[from + d];
                weights.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
            }
            double sum = 0;
            for (const double weight : weights) sum += weight;
            for (std::size_t key = 0; key < keys.size(); ++key)
                for (std::size_t d = 0; d < dim; ++d)
                    out[at + d] += weights[key] / sum * values[key][from + d];
        }
        return out;
    }

    DecoderShape shape_;
    Noise noise_{1};
    std::map<std::pair<Matrix, std::uint32_t>, std::vector<std::uint16_t>> matrices_;
    std::map<std::pair<Vector, std::uint32_t>, std::vector<float>> vectors_;
    std::vector<float> turns_;
};

inline std::vector<std::vector<double>> RandomModel::logits(const Tokens& tokens) const {
    std::vector<std::vector<Row>> keys(shape_.layers), values(shape_.layers);
    std::vector<Row> all;
    const auto add = [](Row& h, const Row& y) {
        for (std::size_t i = 0; i < h.size(); ++i) h[i] += y[i];
    };
    for (std::size_t position = 0; position < tokens.size(); ++position) {
        Row h;
        for (std::size_t i = 0; i < shape_.hidden; ++i)
            h.push_back(decode(
                Operand::bf16,
                matrices_.at({Matrix::embedding,
                              0})[static_cast<std::size_t>(tokens[position]) * shape_.hidden + i]));
        for (std::uint32_t layer = 0; layer < shape_.layers; ++layer) {
            const Row x = normed(Vector::attention_norm, layer, h);
            Row query = add_bias(Vector::query, layer, multiply(Matrix::query, layer, x));
            Row key = add_bias(Vector::key, layer, multiply(Matrix::key, layer, x));
            rotate(query, position);
            rotate(key, position);
            keys[layer].push_back(std::move(key));
            values[layer].push_back(
                add_bias(Vector::value, layer, multiply(Matrix::value, layer, x)));
            add(h, multiply(Matrix::output, layer, attend(query, keys[layer], values[layer])));
            const Row second = normed(Vector::ffn_norm, layer, h);
            Row gate = multiply(Matrix::gate, layer, second);
            const Row up = multiply(Matrix::up, layer, second);
            for (std::size_t i = 0; i < gate.size(); ++i)
                gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
            add(h, multiply(Matrix::down, layer, gate));
        }
        all.push_back(multiply(Matrix::head, 0, normed(Vector::last_norm, 0, h)));
    }
    return all;
}

}  // namespace holdfast::cuda::testing
