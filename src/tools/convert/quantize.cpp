#include "tools/convert/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "common/base/assert.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config.h"
#include "inference/tensor/gguf.h"
#include "inference/tensor/gguf_writer.h"
#include "inference/tensor/quantize.h"
#include "tools/convert/model_metadata.h"
#include "tools/convert/parallel.h"
#include "tools/convert/plan.h"
#include "tools/convert/tokenizer_metadata.h"

namespace holdfast::convert {
namespace {

using base::Code;
using base::Result;
using tensor::DataType;

constexpr std::size_t strip_elements = 1 << 22;  // what is in memory at a time

// Metadata of a GGUF file that speaks of the file and not of the model.
bool describes_the_file(std::string_view key) {
    return key == "general.file_type" || key == "general.quantization_version" ||
           key == "general.alignment" || key.starts_with("split.") || key.starts_with("quantize.");
}

std::string model_name(const std::string& folder) {
    const auto path = std::filesystem::weakly_canonical(folder);
    return path.filename().string();
}

// Everything but the tensors.
Result<tensor::GgufMetadata> make_metadata(const std::string& in, const tensor::Config& config,
                                           DataType type) {
    tensor::GgufMetadata metadata;
    if (tensor::is_gguf(in)) {
        HF_TRY_ASSIGN(const auto file, tensor::Gguf::open(in));
        std::vector<tensor::GgufEntry> entries(file.entries().begin(), file.entries().end());
        std::ranges::sort(entries, {}, [](const auto& entry) { return entry.key.data(); });
        for (const tensor::GgufEntry& entry : entries)  // in the file's order
            if (!describes_the_file(entry.key)) metadata.copy(entry);
    } else {
        add_model(config, model_name(in), metadata);
        HF_TRY(add_tokenizer(in, config, metadata));
    }
    add_file_type(type, metadata);
    return metadata;
}

// One run of the command, from the opened input to the checked output.
class Run {
public:
    Run(const QuantizeOptions& options, std::vector<PlannedTensor> plan)
        : options_(options), plan_(std::move(plan)) {
        for (const PlannedTensor& tensor : plan_)
            elements_ += tensor.rows() * tensor.row_elements();
    }

    Result<QuantizeReport> run(const tensor::GgufMetadata& metadata) {
        std::vector<tensor::GgufTensor> targets;
        for (const PlannedTensor& tensor : plan_) targets.push_back(tensor.target);
        HF_TRY_ASSIGN(auto writer, tensor::GgufWriter::create(options_.out, options_.replace,
                                                              metadata, std::move(targets)));
        for (const PlannedTensor& tensor : plan_) HF_TRY(write(tensor, writer));
        HF_TRY(writer.sync());
        HF_TRY_ASSIGN(QuantizeReport report, check(writer.partial_path()));
        HF_TRY(writer.finish());
        report.file_bytes = writer.file_bytes();
        return report;
    }

private:
    // Rows of a tensor that are in memory together.
    struct Strip {
        std::size_t begin, end;
    };
    template <class Use>
    Result<> for_strips(Step step, const PlannedTensor& tensor, const Use& use) {
        const std::size_t rows = tensor.rows();
        const std::size_t strip_rows =
            std::max<std::size_t>(1, strip_elements / tensor.row_elements());
        for (std::size_t begin = 0; begin < rows; begin += strip_rows) {
            const Strip strip{begin, std::min(rows, begin + strip_rows)};
            HF_TRY(use(strip));
            elements_done_ += (strip.end - strip.begin) * tensor.row_elements();
            const double share =
                static_cast<double>(elements_done_) / static_cast<double>(elements_);
            if (options_.on_progress && !options_.on_progress(step, share))
                return base::fail(Code::cancelled, "interrupted; {} was not written", options_.out);
        }
        return {};
    }

    static void read_row(const PlannedTensor& tensor, std::size_t row, std::span<float> values) {
        if (tensor.source == nullptr) {
            std::ranges::copy(tensor.values, values.begin());
            return;
        }
        const std::size_t row_bytes = tensor::bytes_of(tensor.source->type, values.size());
        const std::byte* const bytes =
            tensor.source->bytes.data() + tensor.source_row(row) * row_bytes;
        tensor::dequantize(tensor.source->type, bytes, values);
    }

    Result<> write(const PlannedTensor& tensor, tensor::GgufWriter& writer) {
        const DataType type = tensor.target.type;
        const std::size_t row_elements = tensor.row_elements();
        const std::size_t row_bytes = tensor::bytes_of(type, row_elements);
        if (tensor.source != nullptr) HF_TRY(check_finite(*tensor.source));
        return for_strips(Step::writing, tensor, [&](const Strip& strip) -> Result<> {
            buffer_.resize((strip.end - strip.begin) * row_bytes);
            in_parallel(options_.threads, strip.end - strip.begin, [&](std::size_t i) {
                std::byte* const to = buffer_.data() + i * row_bytes;
                // The same type keeps its bits: quantizing again would lose some.
                if (tensor.source != nullptr && tensor.source->type == type) {
                    const std::size_t row = tensor.source_row(strip.begin + i);
                    std::memcpy(to, tensor.source->bytes.data() + row * row_bytes, row_bytes);
                    return;
                }
                std::vector<float> values(row_elements);
                read_row(tensor, strip.begin + i, values);
                tensor::quantize(type, values, to);
            });
            const std::size_t count = (strip.end - strip.begin) * row_elements;
            if (tensor::find_not_finite(type, buffer_.data(), count) != count)
                return base::fail(Code::invalid, "{}: tensor \"{}\" holds numbers too large for {}",
                                  options_.in, tensor.target.name, tensor::name(type));
            return writer.append(buffer_);
        });
    }

    static Result<> check_finite(const tensor::Tensor& source) {
        const tensor::DataTypeTraits traits = tensor::traits(source.type);
        HF_ASSERT(traits.block_bytes > 0);
        const std::size_t count = source.bytes.size() / traits.block_bytes * traits.block_elements;
        const std::size_t bad = tensor::find_not_finite(source.type, source.bytes.data(), count);
        if (bad == count) return {};
        return base::fail(Code::invalid,
                          "{}: tensor \"{}\" holds an infinite or undefined number at index {}",
                          source.file, source.name, bad);
    }

    struct Sums {
        double error = 0, square = 0;
    };

    Result<Sums> compare(const PlannedTensor& tensor, const tensor::Tensor& written) {
        Sums sums;
        const std::size_t row_elements = tensor.row_elements();
        const std::size_t row_bytes = tensor::bytes_of(written.type, row_elements);
        HF_TRY(for_strips(Step::checking, tensor, [&](const Strip& strip) -> Result<> {
            std::vector<Sums> rows(strip.end - strip.begin);
            in_parallel(options_.threads, rows.size(), [&](std::size_t i) {
                std::vector<float> wanted(row_elements), found(row_elements);
                read_row(tensor, strip.begin + i, wanted);
                tensor::dequantize(written.type,
                                   written.bytes.data() + (strip.begin + i) * row_bytes, found);
                for (std::size_t k = 0; k < row_elements; ++k) {
                    const double off = double{wanted[k]} - double{found[k]};
                    rows[i].error += off * off;
                    rows[i].square += double{wanted[k]} * double{wanted[k]};
                }
            });
            for (const Sums& row : rows) {
                sums.error += row.error;
                sums.square += row.square;
            }
            return {};
        }));
        return sums;
    }

    // Reads the file back and compares every number with the input.
    Result<QuantizeReport> check(const std::string& path) {
        elements_done_ = 0;
        HF_TRY_ASSIGN(const auto file, tensor::Gguf::open(path));
        QuantizeReport report;
        std::map<DataType, Sums> sums;
        std::map<DataType, TypeReport> types;
        std::uint64_t bytes = 0;
        for (const PlannedTensor& tensor : plan_) {
            const auto written = std::ranges::lower_bound(file.tensors(), tensor.target.name, {},
                                                          &tensor::Tensor::name);
            if (written == file.tensors().end() || written->name != tensor.target.name ||
                written->type != tensor.target.type || written->shape != tensor.target.shape)
                return base::fail(Code::corrupt,
                                  "{}: tensor \"{}\" was not written as it should be", options_.out,
                                  tensor.target.name);
            HF_TRY_ASSIGN(const Sums sum, compare(tensor, *written));
            sums[written->type].error += sum.error;
            sums[written->type].square += sum.square;
            TypeReport& type = types[written->type];
            type.type = written->type;
            ++type.tensors;
            type.weights += tensor.rows() * tensor.row_elements();
            type.bytes += written->bytes.size();
            bytes += written->bytes.size();
            report.fallbacks += tensor.fell_back;
            report.was_quantized |=
                tensor.source != nullptr && tensor::is_quantized(tensor.source->type);
        }
        for (auto& [type, one] : types) {
            if (sums[type].square > 0)
                one.relative_error = std::sqrt(sums[type].error / sums[type].square);
            report.types.push_back(one);
        }
        report.bits_per_weight = 8.0 * static_cast<double>(bytes) / static_cast<double>(elements_);
        return report;
    }

    const QuantizeOptions& options_;
    std::vector<PlannedTensor> plan_;
    std::vector<std::byte> buffer_;
    std::size_t elements_ = 0, elements_done_ = 0;
};

// `out` must not be what is being read, under whatever name.
Result<> check_paths(const QuantizeOptions& options, const tensor::Checkpoint& checkpoint) {
    std::error_code ignored;
    for (const tensor::Tensor& tensor : checkpoint.tensors())
        if (std::filesystem::equivalent(tensor.file, options.out, ignored))
            return base::fail(Code::invalid, "{}: is the input itself; name another file",
                              options.out);
    if (std::filesystem::is_directory(options.out, ignored))
        return base::fail(Code::invalid, "{}: is a folder; name a file in it", options.out);
    if (!options.replace &&
        std::filesystem::exists(std::filesystem::symlink_status(options.out, ignored)))
        return base::fail(Code::invalid, "{}: exists already", options.out);
    return {};
}

}  // namespace

DataType default_head(DataType type) {
    const bool is_coarse =
        type == DataType::q4_0 || type == DataType::q4_k || type == DataType::q5_k;
    return is_coarse ? DataType::q6_k : type;
}

Result<QuantizeReport> quantize(const QuantizeOptions& options) {
    HF_TRY_ASSIGN(const auto config, tensor::read_config(options.in));
    HF_TRY_ASSIGN(const auto checkpoint, tensor::Checkpoint::open(options.in));
    HF_TRY(check_paths(options, checkpoint));
    if (config.rope_scaling && config.architecture != "llama")
        return base::fail(Code::invalid, "{}: rope scaling of {} has no form in GGUF", options.in,
                          config.architecture);
    HF_TRY_ASSIGN(const auto metadata, make_metadata(options.in, config, options.type));
    const auto divisors = config.rope_scaling ? rope_divisors(*config.rope_scaling,
                                                              config.rope_theta, config.head_dim)
                                              : config.rope_divisors;
    const TypeChoice types{options.type, options.head.value_or(default_head(options.type))};
    HF_TRY_ASSIGN(auto plan, make_plan(checkpoint, config, types, divisors));
    return Run(options, std::move(plan)).run(metadata);
}

}  // namespace holdfast::convert
