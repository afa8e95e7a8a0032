#pragma once

#include <optional>

#include "common/cores/pool.h"
#include "inference/model/fingerprint.h"
#include "inference/model/walk.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/read_ahead.h"

namespace holdfast::model {

// Reads every tensor of a walk once, on all threads: refuses numbers that are not finite, or that
// matrices of the type `converted` cannot hold, and adds the bytes to the fingerprint.
class Inspector final : public TensorReader {
public:
    // All of them must outlive the inspector.
    Inspector(Fingerprint& fingerprint, cores::Pool& pool, tensor::ReadAhead& read_ahead,
              std::optional<tensor::DataType> converted)
        : fingerprint_(fingerprint), pool_(pool), read_ahead_(read_ahead), converted_(converted) {}

    base::Result<> read(const tensor::Tensor& tensor) override;
    void made(tensor::DataType type) override { fingerprint_.add_matrix(type); }

private:
    base::Result<> check_and_hash(const tensor::Tensor& tensor);
    base::Result<> check_range(const tensor::Tensor& tensor);

    Fingerprint& fingerprint_;
    cores::Pool& pool_;
    tensor::ReadAhead& read_ahead_;
    std::optional<tensor::DataType> converted_;
};

}  // namespace holdfast::model
