#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <vector>

#include "app/commands/commands.h"
#include "app/commands/interrupt_flag.h"
#include "app/commands/model_flags.h"
#include "app/commands/progress_line.h"
#include "app/commands/pulled_models.h"
#include "common/cores/machine.h"
#include "inference/text/tokenizer.h"
#include "tools/eval/corpus.h"
#include "tools/eval/evaluate.h"
#include "tools/eval/recorded.h"
#include "tools/eval/report.h"
#include "tools/perf/file_weights.h"

namespace holdfast::commands {
namespace {

using base::Code;

// A model's own problems, in its folder.
constexpr const char* own_problems = "held_out.jsonl";
constexpr std::size_t text_bytes_max = std::size_t{64} << 20;
constexpr std::uint32_t batch_tokens = 128;  // of one step: logits of all are kept

struct Flags {
    std::string model, against, text, problems, record, recorded, kv, format = "table";
    std::vector<std::string> weights;
    std::uint32_t threads = cores::this_machine().threads();
    std::uint32_t limit = 0, record_top = 20, tokens_max = 1'024, slots = 16;
    eval::Windows windows;
};

// What a run needs, read from the flags.
struct Setting {
    std::shared_ptr<const text::Tokenizer> tokenizer;
    text::ChatTemplate chat;
    std::vector<eval::Entrant> entrants;
    eval::Task task;
    std::string corpus;
};

eval::Entrant entrant(const Flags& flags, std::string name, std::string path,
                      std::optional<tensor::DataType> weights, tensor::KvType kv_type) {
    if (kv_type != tensor::KvType::f32) name += fmt::format(", KV {}", flags.kv);
    return {std::move(name), [path = std::move(path), weights, kv_type,
                              threads = flags.threads](std::uint32_t kv_tokens) {
                model::LoadOptions options;
                options.threads = threads;
                options.kv_tokens = kv_tokens;
                options.batch_tokens_max = batch_tokens;
                options.weights = weights;
                options.kv_type = kv_type;
                return model::load(path, options);
            }};
}

// The reference first, unless a record is one: then the model itself is what is compared.
base::Result<std::vector<eval::Entrant>> read_entrants(const Flags& flags,
                                                       const perf::FileWeights& file) {
    auto kv_type = tensor::KvType::f32;
    if (!flags.kv.empty()) {
        HF_TRY_ASSIGN(kv_type, parse_kv_type(flags.kv));
    }
    std::vector<eval::Entrant> entrants;
    const bool alone = flags.weights.empty() && flags.against.empty();
    if (flags.recorded.empty())
        entrants.push_back(entrant(flags, file.names(std::nullopt), flags.model, std::nullopt,
                                   tensor::KvType::f32));
    if (alone && (!flags.recorded.empty() || kv_type != tensor::KvType::f32))
        entrants.push_back(
            entrant(flags, file.names(std::nullopt), flags.model, std::nullopt, kv_type));
    if (!flags.against.empty()) {
        HF_TRY_ASSIGN(auto against, find_model(flags.against));
        entrants.push_back(
            entrant(flags, base_name(flags.against), std::move(against), std::nullopt, kv_type));
    }
    for (const std::string& name : flags.weights) {
        HF_TRY_ASSIGN(const auto type, parse_weights(name));
        entrants.push_back(entrant(flags, file.names(type), flags.model, type, kv_type));
    }
    return entrants;
}

base::Result<std::string> read_text(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return base::fail(Code::not_found, "--text: cannot read {}", path);
    std::string text;
    for (char piece[1 << 16]; file.read(piece, sizeof piece) || file.gcount() > 0;) {
        text.append(piece, static_cast<std::size_t>(file.gcount()));
        if (text.size() > text_bytes_max)
            return base::fail(Code::invalid, "--text: {} is larger than {} MiB", path,
                              text_bytes_max >> 20);
    }
    return text;
}

// The passages of the text or else of the problems, and the problems.
base::Result<> read_corpus(const Flags& flags, Setting& setting, chat::TokenId end) {
    eval::Task& task = setting.task;
    std::string problems = flags.problems;
    if (problems.empty() && flags.text.empty())
        problems = (std::filesystem::path(flags.model) / own_problems).string();
    if (!problems.empty()) {
        auto read = eval::read_problems(problems);
        if (!read && flags.problems.empty())
            return base::fail(Code::invalid, "{}\n  next: give --text FILE or --problems FILE",
                              read.error().what);
        if (!read) return std::unexpected(std::move(read).error());
        task.problems = *std::move(read);
        if (flags.limit > 0 && task.problems.size() > flags.limit)
            task.problems.resize(flags.limit);
    }
    if (flags.text.empty()) {
        task.passages = eval::passages_of(task.problems, *setting.tokenizer, setting.chat, end);
        setting.corpus =
            fmt::format("{} problems of {}, {} tokens of their solutions", task.problems.size(),
                        problems, eval::positions_of(task.passages));
        return {};
    }
    HF_TRY_ASSIGN(const std::string text, read_text(flags.text));
    task.passages = eval::cut_text(*setting.tokenizer, text, flags.windows);
    if (flags.limit > 0 && task.passages.size() > flags.limit) task.passages.resize(flags.limit);
    if (task.passages.empty())
        return base::fail(Code::invalid, "--text: {} holds too few tokens to predict", flags.text);
    setting.corpus = fmt::format("{} tokens of {} in {} windows of {}, stride {}",
                                 eval::positions_of(task.passages), flags.text,
                                 task.passages.size(), flags.windows.window, flags.windows.stride);
    if (!task.problems.empty())
        setting.corpus += fmt::format("; {} problems", task.problems.size());
    return {};
}

base::Result<Setting> read_flags(Flags& flags) {
    if (!flags.against.empty() && !flags.weights.empty())
        return base::fail_field("--against", "--against and --weights exclude each other");
    if (!flags.record.empty() && !flags.recorded.empty())
        return base::fail_field("--record", "--record and --recorded exclude each other");
    if (flags.windows.stride == 0 || flags.windows.stride > flags.windows.window)
        return base::fail_field("--stride", "--stride: must be 1 to --window");
    HF_TRY_ASSIGN(flags.model, find_model(flags.model));
    HF_TRY_ASSIGN(const auto file, perf::FileWeights::open(flags.model));
    Setting setting;
    HF_TRY_ASSIGN(
        setting.tokenizer,
        text::load_tokenizer(flags.model, static_cast<chat::TokenId>(file.config().vocab)));
    HF_TRY_ASSIGN(setting.chat, text::ChatTemplate::load(flags.model));
    HF_TRY_ASSIGN(setting.entrants, read_entrants(flags, file));
    if (file.config().eos.empty())
        return base::fail(Code::invalid, "{} names no end of sequence", flags.model);
    HF_TRY(read_corpus(flags, setting, file.config().eos.front()));
    eval::Task& task = setting.task;
    task.tokens_max = flags.tokens_max;
    task.slots = flags.slots;
    task.record_top = flags.record_top;
    task.record_path = flags.record;
    if (!flags.recorded.empty()) {
        HF_TRY_ASSIGN(task.recorded, eval::read_record(flags.recorded, file.config().vocab));
    }
    return setting;
}

int evaluate(Flags& flags, const Shell& shell) {
    const auto setting = read_flags(flags);
    if (!setting) return complain(shell, setting.error());
    const InterruptFlag interrupt;
    const auto result = [&] {
        const ProgressLine line(shell.streams.error);
        return eval::evaluate(
            setting->entrants, *setting->tokenizer, setting->chat, setting->task,
            [&](const eval::Moment& moment) {
                line.show(fmt::format("{}: {:.0f} %", moment.what, 100 * moment.share));
                return !interrupt.is_set();
            });
    }();
    if (!result) return complain(shell, result.error().what);
    cli::write_text(shell.streams.output,
                    flags.format == "json"
                        ? eval::to_json(setting->corpus, setting->task, *result)
                        : eval::to_table(setting->corpus, setting->task, *result));
    if (result->stopped) return interrupt.exit_code();
    // What could not be loaded has its reason in the report.
    const bool all_loaded = std::ranges::all_of(
        result->scores, [](const eval::Scores& scores) { return scores.error.empty(); });
    return all_loaded ? 0 : 1;
}

void add_corpus_options(CLI::App& command, Flags& flags) {
    command.add_option("--text", flags.text, "predict this text, window by window")
        ->type_name("FILE");
    command
        .add_option("--problems", flags.problems,
                    fmt::format("solve these problems [{} in the model's folder]", own_problems))
        ->type_name("FILE");
    command.add_option("--limit", flags.limit, "most windows and problems [all]")->type_name("N");
    command.add_option("--window", flags.windows.window, "tokens that are seen at once [512]")
        ->type_name("N")
        ->check(CLI::Range(2U, 1U << 20));
    command
        .add_option("--stride", flags.windows.stride, "tokens from one window to the next [256]")
        ->type_name("N");
    command
        .add_option("--max-tokens", flags.tokens_max,
                    "longest solution, thinking included; R1's distills want 32768 [1024]")
        ->type_name("N")
        ->check(CLI::Range(1U, 1U << 20));
    command.add_option("--batch", flags.slots, "problems at a time [16]")
        ->type_name("N")
        ->check(CLI::Range(1U, batch_tokens));
}

void add_options(CLI::App& command, Flags& flags) {
    command.add_option("MODEL", flags.model, "the reference: a folder, GGUF file or pulled model")
        ->type_name("")
        ->required();
    command.add_option("--against", flags.against, "another form of the same model to compare")
        ->type_name("MODEL");
    command
        .add_option(
            "--weights", flags.weights,
            fmt::format("compare what it is converted to: {}", fmt::join(weight_names(), ", ")))
        ->type_name("TYPE,...")
        ->delimiter(',');
    command
        .add_option("--kv", flags.kv, "keys and values of what is compared: f32, bf16, q8 [f32]")
        ->type_name("TYPE");
    add_corpus_options(command, flags);
    command.add_option("--record", flags.record, "write the reference's predictions to a file")
        ->type_name("FILE");
    command.add_option("--record-top", flags.record_top, "likeliest tokens to record [20]")
        ->type_name("N")
        ->check(CLI::Range(1U, 10'000U));
    command.add_option("--recorded", flags.recorded, "compare with such a file")->type_name("FILE");
    command.add_option("-t,--threads", flags.threads, "of each model [all]")
        ->type_name("N")
        ->check(CLI::Range(1U, 1'024U));
    command.add_option("-o,--output", flags.format, "table or json [table]")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"table", "json"}));
}

}  // namespace

void add_eval(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("eval", "Say what quantizing a model costs in quality");
    auto flags = std::make_shared<Flags>();
    add_options(*command, *flags);
    command->footer(
        "Perplexity, agreement with the reference, and problems solved greedily. All models that\n"
        "are compared are in memory at the same time. Ctrl-C shows what has been read.\n\n"
        "Examples:\n"
        "  holdfast eval models/tiny-r1 --weights q8_0,q4_0\n"
        "  holdfast eval r1-bf16.gguf --against r1-q4_k.gguf --text wiki.txt\n"
        "  holdfast eval r1-bf16.gguf --text wiki.txt --record r1.jsonl   # where there is memory\n"
        "  holdfast eval r1-q4_k.gguf --text wiki.txt --recorded r1.jsonl");
    command->callback(
        [&shell, flags] { shell.chosen = [&shell, flags] { return evaluate(*flags, shell); }; });
}

}  // namespace holdfast::commands
