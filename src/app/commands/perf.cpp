#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <optional>
#include <vector>

#include "app/commands/commands.h"
#include "app/commands/interrupt_flag.h"
#include "app/commands/model_flags.h"
#include "app/commands/progress_line.h"
#include "app/commands/pulled_models.h"
#include "common/cores/machine.h"
#include "inference/model/device.h"
#include "inference/model/random.h"
#include "tools/perf/file_weights.h"
#include "tools/perf/measure.h"
#include "tools/perf/report.h"
#include "tools/perf/work.h"

namespace holdfast::commands {
namespace {

struct Flags {
    std::string model, shape, weights = "file", kv = "f32", numerics = "portable", format = "table";
    std::string cores = "auto";
    std::string write;
    perf::Options options;
};

base::Result<tensor::DataType> weights_of_shape(const Flags& flags) {
    HF_TRY_ASSIGN(const auto weights, parse_weights(flags.weights));
    return weights.value_or(tensor::DataType::bf16);
}

base::Result<perf::Subject> subject_of_shape(const Flags& flags) {
    perf::Subject subject{.name = flags.shape};
    HF_TRY_ASSIGN(subject.config, parse_shape(flags.shape));
    HF_TRY_ASSIGN(const tensor::DataType weights, weights_of_shape(flags));
    subject.weights = fmt::format("{}, random", tensor::name(weights));
    HF_TRY_ASSIGN(const auto bytes, perf::weight_bytes(*subject.device, subject.config, weights));
    subject.step_weight_bytes = bytes.step;
    subject.make = [config = subject.config, weights](const model::LoadOptions& options) {
        return model::random_model(config, weights, options);
    };
    return subject;
}

base::Result<perf::Subject> subject_of_file(const Flags& flags) {
    perf::Subject subject{.name = base_name(flags.model)};
    HF_TRY_ASSIGN(const std::string path, find_model(flags.model));
    HF_TRY_ASSIGN(const auto found, perf::FileWeights::open(path));
    subject.config = found.config();
    HF_TRY_ASSIGN(const auto converted, parse_weights(flags.weights));
    subject.weights = found.names(converted);
    if (converted) subject.weights += " from " + found.names(std::nullopt);
    HF_TRY_ASSIGN(const auto bytes, found.bytes(*subject.device, converted));
    subject.step_weight_bytes = bytes.step;
    subject.make = [path, converted](model::LoadOptions options) {
        options.weights = converted;
        return model::load(path, options);
    };
    return subject;
}

base::Result<cores::Choice> read_cores(std::string_view text) {
    auto choice = cores::parse_choice(text);
    if (!choice) return base::fail_field("--cores", "--cores: {}", choice.error().what);
    if (const auto cpus = cores::cpus_of(*choice, cores::this_machine()); !cpus)
        return base::fail_field("--cores", "--cores: {}", cpus.error().what);
    return choice;
}

base::Result<perf::Subject> read_flags(Flags& flags) {
    if (flags.model.empty() == flags.shape.empty())
        return base::fail_field("--shape", "name either a MODEL or a --shape");
    HF_TRY_ASSIGN(flags.options.kv_type, parse_kv_type(flags.kv));
    flags.options.native_numerics = flags.numerics == "native";
    if (const auto info = model::processor()->info(flags.options.isa); !info)
        return base::fail_field("--isa", "--isa: {}", info.error().what);
    HF_TRY_ASSIGN(flags.options.cores, read_cores(flags.cores));
    std::erase(flags.options.prompts, 0);  // as people of llama-bench leave a part out
    std::erase(flags.options.batches, 0);
    return flags.shape.empty() ? subject_of_file(flags) : subject_of_shape(flags);
}

// A shape as a file, for other programs and for a second look.
int write(const Flags& flags, const Shell& shell) {
    const auto written = [&]() -> base::Result<> {
        if (flags.shape.empty() || !flags.model.empty())
            return base::fail_field("--write", "--write: needs a --shape and no MODEL");
        HF_TRY_ASSIGN(const auto config, parse_shape(flags.shape));
        HF_TRY_ASSIGN(const tensor::DataType weights, weights_of_shape(flags));
        return model::write_random(config, weights, flags.write);
    }();
    return written ? 0 : complain(shell, written.error());
}

int measure(Flags& flags, const Shell& shell) {
    if (!flags.write.empty()) return write(flags, shell);
    const auto subject = read_flags(flags);
    if (!subject) return complain(shell, subject.error());
    const InterruptFlag interrupt;
    const auto report = [&] {
        const ProgressLine line(shell.streams.error);
        const auto show = [&](const perf::Moment& moment) {
            line.show(fmt::format("{} threads, round {} of {}: {}", moment.threads, moment.round,
                                  moment.rounds, moment.what));
        };
        return perf::measure(*subject, flags.options, {show, [&] { return interrupt.is_set(); }});
    }();
    if (!report) return complain(shell, report.error());
    cli::write_text(shell.streams.output, flags.format == "json"
                                              ? perf::to_json(*subject, flags.options, *report)
                                              : perf::to_table(*subject, flags.options, *report));
    return report->stopped ? interrupt.exit_code() : 0;
}

void add_options(CLI::App& command, Flags& flags) {
    perf::Options& options = flags.options;
    options.threads = {cores::this_machine().threads()};
    command.add_option("MODEL", flags.model, "a folder, GGUF file or pulled model")->type_name("");
    command
        .add_option("--shape", flags.shape,
                    fmt::format("random weights instead: {}", fmt::join(shape_names(), ", ")))
        ->type_name("NAME");
    command
        .add_option("--weights", flags.weights,
                    fmt::format("compute with: {} [as in the file; bf16 for a shape]",
                                fmt::join(weight_names(), ", ")))
        ->type_name("TYPE");
    command.add_option("--kv", flags.kv, "keep keys and values in f32, bf16 or q8 [f32]")
        ->type_name("TYPE");
    command
        .add_option("--numerics", flags.numerics,
                    "portable, or native: bf16 dot products where the processor has them "
                    "[portable]")
        ->type_name("NAME")
        ->check(CLI::IsMember({"portable", "native"}));
    command.add_option("--isa", options.isa, "instruction set [the best]")->type_name("NAME");
    command
        .add_option("-p,--prompts", options.prompts, "tokens of each prefill; 0: none [128,512]")
        ->type_name("N,...")
        ->delimiter(',')
        ->check(CLI::Range(0U, 1U << 20));
    command
        .add_option("-b,--batches", options.batches,
                    "sequences that decode at once; 0: none [1,8,16,32]")
        ->type_name("N,...")
        ->delimiter(',')
        ->check(CLI::Range(0U, 4'096U));
    command.add_option("-n,--tokens", options.tokens, "that each sequence decodes [32]")
        ->type_name("N")
        ->check(CLI::Range(1U, 1U << 20));
    command.add_option("-t,--threads", options.threads, "numbers of threads [all]")
        ->type_name("N,...")
        ->delimiter(',')
        ->check(CLI::Range(1U, 1'024U));
    command
        .add_option(
            "--cores", flags.cores,
            "keep threads to CPUs, as the setting worker.cores; auto: as the only worker of "
            "`serve` [auto]")
        ->type_name("auto|none|CPUS");
    command.add_option("-r,--rounds", options.rounds, "of everything, interleaved [5]")
        ->type_name("N")
        ->check(CLI::Range(1U, 1'000'000U));
    command.add_option("--depth", options.depth, "positions before the measured ones [128]")
        ->type_name("N")
        ->check(CLI::Range(0U, 1U << 20));
    command
        .add_option("--write", flags.write,
                    "write the shape's random model as a GGUF file, and measure nothing")
        ->type_name("FILE");
    command.add_option("-o,--output", flags.format, "table or json [table]")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"table", "json"}));
}

}  // namespace

void add_perf(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("perf", "Measure the speed of the engine alone");
    auto flags = std::make_shared<Flags>();
    add_options(*command, *flags);
    command->footer(
        "Prefill and decode in tokens per second, beside the memory bandwidth and the arithmetic\n"
        "peak of this machine at the same time. Ctrl-C shows what has been measured.\n\n"
        "Examples:\n"
        "  holdfast perf models/tiny-r1\n"
        "  holdfast perf --shape r1-1.5b --weights q8_0 -b 1,16 -t 1,2\n"
        "  holdfast perf r1.gguf -o json > figures.json\n"
        "  holdfast perf --shape r1-1.5b --weights q8_0 --write random.gguf");
    command->callback(
        [&shell, flags] { shell.chosen = [&shell, flags] { return measure(*flags, shell); }; });
}

}  // namespace holdfast::commands
