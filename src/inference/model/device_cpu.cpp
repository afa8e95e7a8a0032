#include <utility>

#include "common/cores/machine.h"
#include "inference/backend/cpu/bandwidth.h"
#include "inference/backend/cpu/memory.h"
#include "inference/backend/cpu/peak.h"
#include "inference/model/decoder.h"
#include "inference/model/device.h"
#include "inference/model/weights.h"

namespace holdfast::model {
namespace {

class ProcessorMeter final : public Meter {
public:
    ProcessorMeter(cpu::Isa isa, std::unique_ptr<cores::Pool> pool)
        : isa_(isa), pool_(std::move(pool)) {}

    base::Result<double> bandwidth() override {
        if (!bandwidth_) {
            HF_TRY_ASSIGN(bandwidth_, cpu::Bandwidth::make(*pool_));
        }
        return bandwidth_->pass();
    }
    std::optional<Peak> peak() override {
        const auto operations = cpu::arithmetic_peak(isa_, *pool_);
        return operations ? std::optional(Peak{*operations, "float32"}) : std::nullopt;
    }

private:
    cpu::Isa isa_;
    std::unique_ptr<cores::Pool> pool_;
    std::optional<cpu::Bandwidth> bandwidth_;  // has a buffer once it is asked for
};

class Processor final : public Device {
public:
    std::string name() const override { return "cpu"; }

    base::Result<DeviceInfo> info(const std::string& wanted) const override {
        HF_TRY_ASSIGN(const cpu::Isa isa, cpu::choose_isa(wanted));
        return DeviceInfo{.product = cores::processor_name(),
                          .kernels = std::string(cpu::name(isa)),
                          .has_integer_kernels = isa == cpu::Isa::vnni};
    }

    Defaults defaults() const override { return {}; }

    std::size_t available_bytes() const override { return cpu::available_memory_bytes(); }

    base::Result<WeightBytes> weight_bytes(
        const WeightSource& source, std::optional<tensor::DataType> converted) const override {
        WeightCounter counter;
        HF_TRY(source.list(converted, counter));
        return counter.bytes();
    }

    std::size_t cache_bytes(const tensor::Config& config, tensor::KvType type,
                            std::uint32_t blocks) const override {
        return Decoder::cache_bytes(config, type, blocks);
    }

    std::size_t working_bytes(const tensor::Config& config,
                              const LoadOptions& options) const override {
        return Decoder::working_bytes(config, options);
    }

    base::Result<std::unique_ptr<Model>> make(const WeightSource& source,
                                              const LoadOptions& options) const override {
        const auto numerics =
            options.native_numerics ? cpu::native_numerics() : cpu::Numerics::portable;
        if (!cpu::has_numerics(numerics))
            return base::fail(
                base::Code::unavailable,
                "numerics: this processor has no bf16 dot products for native numerics");
        HF_TRY_ASSIGN(auto ops, Decoder::make_ops(source.config(), options));
        cores::Pool& pool = ops->pool();
        WeightPacker packer(source.config(), numerics, pool);
        HF_TRY_ASSIGN(const Given given,
                      source.give(options.weights, packer, pool, options.on_progress));
        Weights weights = packer.take();
        weights.fingerprint =
            given.fingerprint.text({cpu::name(numerics), given.layers_type, options.kv_type});
        HF_TRY_ASSIGN(auto model, Decoder::make(std::move(weights), std::move(ops), options));
        // The thread that loads may go on to other things, and another one may compute.
        pool.release_caller();
        return model;
    }

    base::Result<std::unique_ptr<Meter>> make_meter(const LoadOptions& options) const override {
        HF_TRY_ASSIGN(const cpu::Isa isa, cpu::choose_isa(options.isa));
        HF_TRY_ASSIGN(auto pool, cores::Pool::make(options.threads, options.placement));
        return std::make_unique<ProcessorMeter>(isa, std::move(pool));
    }
};

}  // namespace

std::unique_ptr<Device> processor() { return std::make_unique<Processor>(); }

}  // namespace holdfast::model
