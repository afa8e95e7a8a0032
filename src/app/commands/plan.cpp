#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "app/commands/commands.h"
#include "app/commands/model_flags.h"
#include "app/commands/pulled_models.h"
#include "app/config/values.h"
#include "inference/model/device.h"
#include "inference/model/random.h"
#include "tools/perf/file_weights.h"
#include "tools/plan/report.h"

namespace holdfast::commands {
namespace {

using tensor::DataType;

// From the largest to the smallest that people serve models with.
constexpr DataType precisions[] = {DataType::bf16, DataType::q8_0, DataType::q6_k,
                                   DataType::q5_k, DataType::q4_k, DataType::q4_0};

struct Flags {
    std::string model, shape, device = "auto", memory, weights = "file", kv, format = "table";
    std::optional<double> bandwidth;  // GB/s
    plan::Wish wish;
    plan::Prices prices;
    std::optional<double> price_hour, watts, price_kwh;
};

base::Result<plan::Hardware> read_hardware(const Flags& flags) {
    plan::Hardware hardware;
    std::optional<double> bytes_per_second;
    if (flags.bandwidth) bytes_per_second = *flags.bandwidth * 1e9;
    if (flags.device == "auto" && bytes_per_second && !flags.memory.empty()) {
        hardware.name = "the given hardware";
    } else if (flags.device == "auto") {
        HF_TRY_ASSIGN(hardware, plan::this_processor(bytes_per_second));
    } else {
        auto card = plan::find_card(flags.device);
        if (!card) return base::fail_field("--device", "{}", card.error().what);
        hardware = *std::move(card);
    }
    if (bytes_per_second) hardware.bytes_per_second = *bytes_per_second;
    if (!flags.memory.empty()) {
        auto bytes = config::parse_bytes(flags.memory);
        if (!bytes) return base::fail_field("--memory", "--memory: {}", bytes.error().what);
        hardware.memory_bytes = *bytes;
    }
    return hardware;
}

base::Result<plan::Candidate> read_shape(const model::Device& device, const std::string& name,
                                         std::optional<DataType> only) {
    plan::Candidate candidate{.name = name};
    HF_TRY_ASSIGN(candidate.config, parse_shape(name));
    const std::span<const DataType> wanted =
        only ? std::span<const DataType>(&*only, 1) : std::span<const DataType>(precisions);
    for (const DataType type : wanted)
        if (plan::can_have(candidate.config, type)) {
            HF_TRY_ASSIGN(const auto bytes, perf::weight_bytes(device, candidate.config, type));
            candidate.precisions.emplace_back(std::string(tensor::name(type)), bytes);
        }
    if (candidate.precisions.empty())
        return base::fail_field("--weights", "--weights: the rows of {} are no whole blocks of {}",
                                name, tensor::name(*only));
    return candidate;
}

// As it is in the file, and converted to what is smaller; or only what is wanted.
base::Result<plan::Candidate> read_file(const model::Device& device, const std::string& model,
                                        std::optional<DataType> only) {
    HF_TRY_ASSIGN(const std::string path, find_model(model));
    HF_TRY_ASSIGN(const auto found, perf::FileWeights::open(path));
    plan::Candidate candidate{.name = base_name(model), .config = found.config()};
    if (only) {
        HF_TRY_ASSIGN(const auto bytes, found.bytes(device, only));
        candidate.precisions.emplace_back(found.names(only), bytes);
        return candidate;
    }
    HF_TRY_ASSIGN(const auto as_it_is, found.bytes(device, std::nullopt));
    candidate.precisions.emplace_back(found.names(std::nullopt), as_it_is);
    for (const DataType type : precisions) {
        const auto bytes = found.bytes(device, type);
        if (found.can_have(type) && bytes && bytes->exact < as_it_is.exact)
            candidate.precisions.emplace_back(std::string(tensor::name(type)), *bytes);
    }
    return candidate;
}

base::Result<std::vector<plan::Candidate>> read_candidates(const Flags& flags) {
    if (!flags.model.empty() && !flags.shape.empty())
        return base::fail_field("--shape", "name either a MODEL or a --shape");
    HF_TRY_ASSIGN(const std::optional<DataType> only, parse_weights(flags.weights));
    const auto device = model::processor();  // whose layout counts, see plan::Hardware
    std::vector<plan::Candidate> candidates;
    if (!flags.model.empty()) {
        HF_TRY_ASSIGN(auto candidate, read_file(*device, flags.model, only));
        candidates.push_back(std::move(candidate));
        return candidates;
    }
    std::vector<std::string> names{flags.shape};
    if (flags.shape.empty()) names.assign(model::shape_names().begin(), model::shape_names().end());
    for (const std::string& name : names) {
        HF_TRY_ASSIGN(auto candidate, read_shape(*device, name, only));
        candidates.push_back(std::move(candidate));
    }
    return candidates;
}

base::Result<plan::Plan> read_flags(Flags& flags) {
    plan::Plan plan;
    HF_TRY_ASSIGN(plan.candidates, read_candidates(flags));
    if (flags.bandwidth && *flags.bandwidth <= 0)
        return base::fail_field("--bandwidth", "--bandwidth: must be above 0");
    plan.wish = flags.wish;
    if (flags.price_hour || flags.watts || flags.price_kwh) {
        plan.prices = flags.prices;
        plan.prices->hour = flags.price_hour.value_or(0);
        plan.prices->watts = flags.watts.value_or(0);
        plan.prices->kilowatt_hour = flags.price_kwh.value_or(0);
        if (flags.watts.has_value() != flags.price_kwh.has_value())
            return base::fail_field("--power", "--power and --price-kwh belong together");
    } else if (flags.prices.api_million) {
        return base::fail_field("--api-price",
                                "--api-price: needs --price-hour, or --power and --price-kwh");
    }
    HF_TRY_ASSIGN(plan.hardware, read_hardware(flags));  // last, as it may measure
    plan.wish.kv_type = plan.hardware.is_processor ? tensor::KvType::f32 : tensor::KvType::bf16;
    if (!flags.kv.empty()) {
        HF_TRY_ASSIGN(plan.wish.kv_type, parse_kv_type(flags.kv));
    }
    return plan;
}

int plan_for(Flags& flags, const Shell& shell) {
    const auto plan = read_flags(flags);
    if (!plan) return complain(shell, plan.error());
    cli::write_text(shell.streams.output,
                    flags.format == "json" ? plan::to_json(*plan) : plan::to_table(*plan));
    return 0;
}

void add_prices(CLI::App& command, Flags& flags) {
    const auto positive = CLI::Range(0.0, 1e12);
    command.add_option("--price-hour", flags.price_hour, "what the machine costs an hour")
        ->type_name("X")
        ->check(positive);
    command.add_option("--power", flags.watts, "what it draws, in watts")
        ->type_name("W")
        ->check(positive);
    command.add_option("--price-kwh", flags.price_kwh, "what a kilowatt hour costs")
        ->type_name("Y")
        ->check(positive);
    command
        .add_option("--api-price", flags.prices.api_million,
                    "what a service takes for a million tokens, to compare with")
        ->type_name("Z")
        ->check(CLI::Range(1e-9, 1e12));
    command
        .add_option("--utilization", flags.prices.utilization,
                    "share of the time that the machine is fully used [0.5]")
        ->type_name("U")
        ->check(CLI::Range(0.0001, 1.0));
}

void add_options(CLI::App& command, Flags& flags) {
    command
        .add_option("MODEL", flags.model, "a folder, GGUF file or pulled model [all R1 distills]")
        ->type_name("");
    command
        .add_option("--shape", flags.shape,
                    fmt::format("instead of a file: {}", fmt::join(shape_names(), ", ")))
        ->type_name("NAME");
    command
        .add_option("--device", flags.device,
                    "a graphics card such as \"RTX 4090\", or auto: this machine's processor "
                    "[auto]")
        ->type_name("NAME");
    command.add_option("--memory", flags.memory, "such as 24GiB [the device's]")->type_name("SIZE");
    command.add_option("--bandwidth", flags.bandwidth, "of that memory [the device's]")
        ->type_name("GB/s");
    command
        .add_option("--context", flags.wish.context, "tokens of a sequence, answer included [4096]")
        ->type_name("N")
        ->check(CLI::Range(1U, 1U << 20));
    command.add_option("--sequences", flags.wish.sequences, "at a time [as many as fit]")
        ->type_name("N")
        ->check(CLI::Range(1U, 10'000U));
    command
        .add_option("--weights", flags.weights,
                    fmt::format("one of {} [all usual ones]", fmt::join(weight_names(), ", ")))
        ->type_name("TYPE");
    command.add_option("--kv", flags.kv, "f32, bf16 or q8 [f32 on a processor, bf16 on a card]")
        ->type_name("TYPE");
    add_prices(command, flags);
    command.add_option("-o,--output", flags.format, "table or json [table]")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"table", "json"}));
}

}  // namespace

void add_plan(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("plan", "Say what fits on a machine, and how fast it is");
    auto flags = std::make_shared<Flags>();
    add_options(*command, *flags);
    command->footer(
        "Without MODEL and --shape: which R1 distills fit, and in which precision. Prices are in\n"
        "any currency.\n\n"
        "Examples:\n"
        "  holdfast plan\n"
        "  holdfast plan --device \"RTX 4090\" --context 16384\n"
        "  holdfast plan --shape r1-7b --device 3060 --sequences 4\n"
        "  holdfast plan --shape r1-1.5b --device H100 --price-hour 2.5 --api-price 0.5");
    command->callback(
        [&shell, flags] { shell.chosen = [&shell, flags] { return plan_for(*flags, shell); }; });
}

}  // namespace holdfast::commands
