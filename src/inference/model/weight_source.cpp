#include "inference/model/weight_source.h"

#include <utility>
#include <vector>

#include "inference/model/inspector.h"
#include "inference/model/walk.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/read_ahead.h"

namespace holdfast::model {
namespace {

using tensor::DataType;

// What will be read, in its order.
class ReadList final : public TensorReader {
public:
    base::Result<> read(const tensor::Tensor& tensor) override {
        reads_.push_back(tensor.bytes);
        return {};
    }
    void made(DataType /*type*/) override {}
    std::vector<std::span<const std::byte>> take() { return std::move(reads_); }

private:
    std::vector<std::span<const std::byte>> reads_;
};

// A sink for those who only want to know what is read.
class Nowhere final : public tensor::WeightSink {
public:
    base::Result<> vector(tensor::Role /*role*/, std::uint32_t /*layer*/, std::uint32_t /*size*/,
                          const VectorOf& /*values*/) override {
        return {};
    }
    base::Result<> matrix(tensor::Role /*role*/, std::uint32_t /*layer*/, DataType /*type*/,
                          std::uint32_t /*outputs*/, std::uint32_t /*inputs*/,
                          const tensor::RowOf& /*row_of*/) override {
        return {};
    }
    base::Result<> table(DataType /*type*/, std::uint32_t /*rows*/, std::uint32_t /*columns*/,
                         const tensor::RowOf& /*row_of*/) override {
        return {};
    }
};

class CheckpointWeights final : public WeightSource {
public:
    CheckpointWeights(tensor::Config config, tensor::Checkpoint checkpoint)
        : config_(std::move(config)), checkpoint_(std::move(checkpoint)) {}

    const tensor::Config& config() const override { return config_; }

    base::Result<> list(std::optional<DataType> converted,
                        tensor::WeightSink& sink) const override {
        ReadList unused;
        HF_TRY_ASSIGN([[maybe_unused]] const DataType type,
                      walk(checkpoint_, config_, converted, unused, sink));
        return {};
    }

    base::Result<Given> give(std::optional<DataType> converted, tensor::WeightSink& sink,
                             cores::Pool& pool,
                             const std::function<void(double share)>& on_progress) const override {
        ReadList reads;
        Nowhere nowhere;
        HF_TRY_ASSIGN([[maybe_unused]] const DataType same,
                      walk(checkpoint_, config_, converted, reads, nowhere));
        tensor::ReadAhead read_ahead(reads.take());
        Given given{Fingerprint(config_, checkpoint_.has_interleaved_heads())};
        Inspector inspector(given.fingerprint, pool, read_ahead, converted);
        HF_TRY_ASSIGN(given.layers_type,
                      walk(checkpoint_, config_, converted, inspector, sink, on_progress));
        return given;
    }

private:
    tensor::Config config_;
    tensor::Checkpoint checkpoint_;
};

}  // namespace

base::Result<std::unique_ptr<WeightSource>> open_weights(const std::string& path) {
    HF_TRY_ASSIGN(auto config, tensor::read_config(path));
    HF_TRY_ASSIGN(auto checkpoint, tensor::Checkpoint::open(path));
    return std::make_unique<CheckpointWeights>(std::move(config), std::move(checkpoint));
}

DataType head_type(DataType layers, std::uint32_t hidden) {
    constexpr std::size_t six_bits = tensor::bytes_of(DataType::q6_k, 256);
    if (tensor::bytes_of(layers, 256) >= six_bits) return tensor::fitting_type(layers, hidden);
    return tensor::fitting_type(DataType::q6_k, hidden);
}

}  // namespace holdfast::model
