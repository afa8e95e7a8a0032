#include "tools/convert/quantize.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "app/commands/commands.h"
#include "app/commands/interrupt_flag.h"
#include "app/commands/progress_line.h"
#include "app/commands/pulled_models.h"
#include "common/base/suggest.h"
#include "common/cores/machine.h"
#include "inference/tensor/data_type.h"

namespace holdfast::commands {
namespace {

using tensor::DataType;

constexpr DataType offered[] = {DataType::bf16, DataType::f16,  DataType::q8_0, DataType::q4_0,
                                DataType::q4_k, DataType::q5_k, DataType::q6_k};

struct Flags {
    std::string in, out, type, head;
    unsigned threads = cores::this_machine().threads();
    bool force = false;
};

base::Result<DataType> read_type(const std::string& flag, const std::string& text) {
    std::vector<std::string> known;
    for (const DataType type : offered) {
        if (tensor::name(type) == text) return type;
        known.emplace_back(tensor::name(type));
    }
    return base::fail_field(flag, "{}: \"{}\" is no type, they are {}{}", flag, text,
                            fmt::join(known, ", "), base::suggestion(text, known));
}

std::string size_text(std::uint64_t bytes) {
    const auto count = static_cast<double>(bytes);
    if (bytes >= 1ULL << 30) return fmt::format("{:.2f} GiB", count / (1ULL << 30));
    if (bytes >= 1ULL << 20) return fmt::format("{:.1f} MiB", count / (1ULL << 20));
    return fmt::format("{:.1f} KiB", count / (1ULL << 10));
}

std::string report_text(const Flags& flags, const convert::QuantizeReport& report) {
    std::string text = fmt::format("{}: {}, {:.2f} bits per weight\n", flags.out,
                                   size_text(report.file_bytes), report.bits_per_weight);
    text += fmt::format("{:<6} {:>8} {:>15} {:>12}  {}\n", "type", "tensors", "weights", "size",
                        "error");
    for (const convert::TypeReport& type : report.types)
        text += fmt::format("{:<6} {:>8} {:>15} {:>12}  {:.5f}\n", tensor::name(type.type),
                            type.tensors, type.weights, size_text(type.bytes), type.relative_error);
    if (report.fallbacks > 0)
        text += fmt::format(
            "tensors whose rows are no whole number of blocks of that type: {}; they are q8_0, or\n"
            "f16 where that does not fit either\n",
            report.fallbacks);
    if (report.was_quantized)
        text += "the input was quantized already: what it had lost adds to the errors above\n";
    return text;
}

int quantize(const Flags& flags, const Shell& shell) {
    convert::QuantizeOptions options{.in = {}, .out = flags.out};
    options.threads = flags.threads;
    options.replace = flags.force;
    const auto type = read_type("--type", flags.type);
    if (!type) return complain(shell, type.error());
    options.type = *type;
    if (!flags.head.empty()) {
        const auto head = read_type("--head", flags.head);
        if (!head) return complain(shell, head.error());
        options.head = *head;
    }
    const auto in = find_model(flags.in);
    if (!in) return complain(shell, in.error());
    options.in = *in;
    const InterruptFlag interrupt;  // so that Ctrl-C leaves no half file
    base::Result<convert::QuantizeReport> report;
    {
        const ProgressLine line(shell.streams.error);
        options.on_progress = [&, shown = std::string()](convert::Step step, double share) mutable {
            const auto* const verb = step == convert::Step::writing ? "writing" : "checking";
            auto text = fmt::format("{} {:.0f} %", verb, 100 * share);
            if (text != shown) line.show(text);
            shown = std::move(text);
            return !interrupt.is_set();
        };
        report = convert::quantize(options);
    }
    if (!report) {
        if (report.error().code == base::Code::cancelled)
            return complain(shell, report.error().what, interrupt.exit_code());
        const bool exists = report.error().what.ends_with("exists already");
        return complain(shell,
                        report.error().what + (exists ? "\n  next: --force replaces it" : ""));
    }
    cli::write_text(shell.streams.output, report_text(flags, *report));
    return 0;
}

}  // namespace

void add_quantize(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("quantize", "Write a model's weights in a smaller format");
    auto flags = std::make_shared<Flags>();
    command->add_option("IN", flags->in, "a Hugging Face folder, a GGUF file or a pulled model")
        ->type_name("")
        ->required();
    command->add_option("OUT", flags->out, "the GGUF file to write")->type_name("")->required();
    command
        ->add_option("--type", flags->type,
                     "format of the matrices: bf16, f16, q8_0, q6_k, q5_k, q4_k or q4_0")
        ->type_name("TYPE")
        ->required();
    command
        ->add_option("--head", flags->head,
                     "format of the output head [q6_k if TYPE has fewer bits, else TYPE]")
        ->type_name("TYPE");
    command->add_option("--threads", flags->threads, "threads to compute with [all cores]")
        ->type_name("N")
        ->check(CLI::Range(1U, 1'024U));
    command->add_flag("--force", flags->force, "replace OUT if it exists");
    command->footer(
        "OUT holds tokenizer and chat template too, and runs here and in llama.cpp. It appears\n"
        "under its name only when it is complete, read back and compared with IN. The errors that\n"
        "are printed are root mean squares, as a share of that of the weights.\n\n"
        "Examples:\n"
        "  holdfast quantize DeepSeek-R1-Distill-Qwen-1.5B r1-q8_0.gguf --type q8_0\n"
        "  holdfast quantize r1-bf16.gguf r1-q4_k.gguf --type q4_k --head q8_0");
    command->callback(
        [&shell, flags] { shell.chosen = [&shell, flags] { return quantize(*flags, shell); }; });
}

}  // namespace holdfast::commands
