#include "app/config/table.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "app/config/values.h"
#include "common/base/suggest.h"
#include "common/cores/placement.h"

namespace holdfast::config {
namespace {

using base::Code;
using base::fail;

// The member at the end of a path of member pointers.
template <auto... path>
auto& at(Settings& settings) {
    return (settings.*....*path);
}

using S = Settings;

const std::array settings_table{
    Setting{"state_dir", at<&S::state_dir>, "auto",
            "folder for the lock and the logs of one service; by default "
            "$XDG_STATE_HOME/holdfast or ~/.local/state/holdfast",
            "", "", "", Form::path, "--state-dir", serve, "DIR"},
    Setting{"external", at<&S::external>, "",
            "instances that somebody else runs, each URL[,kind=KIND][,model=NAME][,name=ID] with "
            "kind holdfast, vllm, llama-server or openai",
            "", "", "", Form::plain, "--instance", serve | gateway, "URL[,kind=...,model=...]"},

    Setting{"log.level", at<&S::log, &S::Log::level>, "info", "least severe message that is logged",
            "", "", "trace|debug|info|warning|error"},
    Setting{"log.bytes_max", at<&S::log, &S::Log::bytes_max>, "16MiB",
            "size at which the log file of a process is rotated", "64KiB", "256MiB"},
    Setting{"log.files_kept", at<&S::log, &S::Log::files_kept>, "2",
            "rotated log files kept of each process", "0", "100"},

    Setting{"gateway.listen", at<&S::gateway, &S::Gateway::listen>, "127.0.0.1:8080",
            "address and port for clients; 0.0.0.0:PORT admits other machines", "", "", "",
            Form::address, "--listen", serve | gateway, "HOST:PORT"},
    Setting{"gateway.balance", at<&S::gateway, &S::Gateway::balance>, "least_outstanding",
            "how an instance is chosen for a request", "", "", "", Form::plain, "--balance",
            serve | gateway, "NAME"},
    Setting{"gateway.threads", at<&S::gateway, &S::Gateway::threads>, "auto",
            "event loops of the gateway; by default one per core", "1", "256"},

    Setting{
        "worker.models", at<&S::worker, &S::Worker::models>, "auto",
        "a model folder in the Hugging Face layout, a GGUF file or the name of a pulled model; by "
        "default the bundled tiny-r1, unless there are external instances",
        "", "", "", Form::path, "--model", serve | worker, "PATH[=NAME]"},
    Setting{"worker.instances", at<&S::worker, &S::Worker::instances>, "2",
            "processes that are started for each model", "1", "64", "", Form::plain, "--instances",
            serve, "N"},
    Setting{"worker.threads", at<&S::worker, &S::Worker::threads>, "auto",
            "computing threads of each instance; by default one per physical core of its share of "
            "worker.cores, within the processor time that a container grants",
            "1", "1024", "", Form::plain, "--threads", serve | worker, "N"},
    Setting{
        "worker.cores", at<&S::worker, &S::Worker::cores>, "auto",
        "CPUs for computing threads, such as 0-3,8, shared out among the instances: each thread "
        "keeps to a core of its own while there are enough; none leaves threads to the system; "
        "auto takes all CPUs that are allowed, and under `serve` keeps threads to a core each "
        "where an instance has one to spare, or to its share where there are several NUMA nodes",
        "", "", "", Form::cores, "--cores", serve | worker, "auto|none|CPUS"},
    Setting{"worker.tokens_per_second", at<&S::worker, &S::Worker::tokens_per_second>, "0",
            "most tokens a second in one stream, for reading along; 0 is as fast as it goes", "0",
            "1000000"},
    Setting{"worker.template", at<&S::worker, &S::Worker::chat_template>, "auto",
            "how conversations are written for the model: deepseek-r1-distill, "
            "deepseek-r1-distill-no-think, deepseek-r1, deepseek-r1-no-think, or the path of a "
            "JSON file that describes it; by default the model's own template, if it is one of "
            "these",
            "", "", "", Form::plain, "--template", serve | worker, "NAME|FILE"},
    Setting{"worker.listen", at<&S::worker, &S::Worker::listen>, "127.0.0.1:8081",
            "address and port of an instance that is started alone; `serve` picks free ports", "",
            "", "", Form::address, "--listen", worker, "HOST:PORT"},

    Setting{"timeouts.connect", at<&S::timeouts, &S::Timeouts::connect>, "1s",
            "longest wait for a connection to an instance", "1ms", "10min"},
    Setting{"timeouts.place", at<&S::timeouts, &S::Timeouts::place>, "1min",
            "longest wait for an instance that is ready, before a request gets 503", "1ms", "1d"},
    Setting{"timeouts.resume", at<&S::timeouts, &S::Timeouts::resume>, "10min",
            "longest wait of an answer that has begun for an instance that can go on with it",
            "1ms", "7d"},
    Setting{"timeouts.first_token", at<&S::timeouts, &S::Timeouts::first_token>, "2min",
            "longest wait for the first token of an answer", "1ms", "1d"},
    Setting{"timeouts.token_gap", at<&S::timeouts, &S::Timeouts::token_gap>, "30s",
            "longest wait between two tokens of an answer", "1ms", "1d"},
    Setting{"timeouts.total", at<&S::timeouts, &S::Timeouts::total>, "1h",
            "longest time for a whole answer, retries included", "1ms", "7d"},

    Setting{"retry.attempts_max", at<&S::retry, &S::Retry::attempts_max>, "8",
            "attempts in a row that may bring a request nothing new before it is given up", "1",
            "100"},
    Setting{"retry.ratio", at<&S::retry, &S::Retry::ratio>, "0.1",
            "retries allowed for each request that came in", "0", "10"},
    Setting{"retry.min_per_second", at<&S::retry, &S::Retry::min_per_second>, "10",
            "retries allowed in each second, however few requests came in", "0", "100000"},

    Setting{"health.probe_every", at<&S::health, &S::Health::probe_every>, "250ms",
            "time between two probes of an instance", "10ms", "1min"},
    Setting{"health.probe_silence_max", at<&S::health, &S::Health::probe_silence_max>, "1500ms",
            "an instance that answers no probe for that long is hung", "20ms", "10min"},
    Setting{"health.progress_silence_max", at<&S::health, &S::Health::progress_silence_max>,
            "1500ms", "an instance that has work and makes no progress for that long is hung",
            "20ms", "10min"},
    Setting{"health.sick_max", at<&S::health, &S::Health::sick_max>, "3",
            "failures in a row after which an instance gets no requests", "1", "1000"},
    Setting{"health.breaker", at<&S::health, &S::Health::breaker>, "2s",
            "first pause of such an instance; doubles up to 30s", "10ms", "30s"},

    Setting{"engine.kv_tokens", at<&S::engine, &S::Engine::kv_tokens>, "32768",
            "tokens that the key-value cache of an instance holds, for all its requests together",
            "16", "1000000000"},
    Setting{"engine.batch_tokens_max", at<&S::engine, &S::Engine::batch_tokens_max>, "512",
            "most tokens computed in one step", "1", "65536"},
    Setting{"engine.prefill_tokens_max", at<&S::engine, &S::Engine::prefill_tokens_max>, "256",
            "most prompt tokens computed in one step; fewer make running answers smoother", "1",
            "65536"},
    Setting{"engine.running_max", at<&S::engine, &S::Engine::running_max>, "64",
            "most answers generated together by one instance", "1", "4096"},
    Setting{"engine.waiting_max", at<&S::engine, &S::Engine::waiting_max>, "512",
            "most answers waiting inside one instance; above that it refuses", "0", "1000000"},
    Setting{"engine.prefix_cache", at<&S::engine, &S::Engine::prefix_cache>, "true",
            "keep the computed beginnings of prompts for requests that begin alike"},
    Setting{"engine.weights", at<&S::engine, &S::Engine::weights>, "file",
            "type that weights are converted to while loading: fewer bits are faster and less "
            "exact; file leaves them as they are, q8 is q8_0 and q4 is q4_0; what has no whole "
            "blocks of the type becomes q8_0 or f16",
            "", "", "file|q8|q4|f32|bf16|f16|q8_0|q6_k|q5_k|q4_k|q4_0", Form::plain, "--weights",
            serve | worker, "TYPE"},
    Setting{"engine.kv_type", at<&S::engine, &S::Engine::kv_type>, "f32",
            "type that keys and values are kept in; bf16 takes half the memory, q8 a quarter", "",
            "", "f32|bf16|q8"},
    Setting{"engine.numerics", at<&S::engine, &S::Engine::numerics>, "portable",
            "portable gives the same answers on every processor; native is faster for bf16 weights "
            "where there are bf16 dot products, and resumes exactly only among such processors",
            "", "", "portable|native"},
    Setting{"engine.speculation_tokens_max", at<&S::engine, &S::Engine::speculation_tokens_max>,
            "3",
            "most tokens guessed ahead in one step of an answer that repeats itself or its prompt; "
            "never changes an answer; 0 is off",
            "0", "64"},
    Setting{"engine.batch_wait", at<&S::engine, &S::Engine::batch_wait>, "0ms",
            "longest time that an idle instance lets a request wait for others to begin with",
            "0ms", "100ms"},

    Setting{"keeper.backoff_first", at<&S::keeper, &S::Keeper::backoff_first>, "100ms",
            "pause before a process that died is started again; doubles with each death", "1ms",
            "1h"},
    Setting{"keeper.backoff_max", at<&S::keeper, &S::Keeper::backoff_max>, "10s",
            "longest such pause", "1ms", "1h"},
    Setting{"keeper.backoff_reset", at<&S::keeper, &S::Keeper::backoff_reset>, "1s",
            "time of good health after which the pause is short again", "1ms", "1d"},
    Setting{"keeper.hang_kill", at<&S::keeper, &S::Keeper::hang_kill>, "10s",
            "a process that shows no progress for that long is killed and started again", "100ms",
            "1h"},
    Setting{"keeper.start_timeout", at<&S::keeper, &S::Keeper::start_timeout>, "10min",
            "longest time for a process to become ready, loading its model included", "100ms",
            "1d"},
    Setting{"keeper.drain", at<&S::keeper, &S::Keeper::drain>, "30s",
            "time for running answers to end when the service is told to stop", "0ms", "1d"},
};

template <class... Ts>
struct Overloaded : Ts... {
    using Ts::operator()...;
};

// Compares against the limits, which are written like the value and therefore read by `parse`.
template <class T, class Parse>
base::Result<> check_limits(const Setting& setting, T value, std::string_view text, Parse parse) {
    const bool below = !setting.least.empty() && value < *parse(setting.least);
    const bool above = !setting.most.empty() && value > *parse(setting.most);
    if (!below && !above) return {};
    return fail(Code::invalid, "must be from {} to {}, not {}", setting.least, setting.most, text);
}

base::Result<> check_choice(const Setting& setting, std::string_view text) {
    if (setting.choices.empty()) return {};
    std::vector<std::string> choices(1);
    for (const char c : setting.choices) {
        if (c == '|') {
            choices.emplace_back();
        } else {
            choices.back() += c;
        }
    }
    if (std::ranges::find(choices, text) != choices.end()) return {};
    return fail(Code::invalid, "must be one of {}, not \"{}\"{}", fmt::join(choices, ", "),
                text.substr(0, 60), base::suggestion(text, choices));
}

base::Result<> assign_text(const Setting& setting, std::string& member, std::string_view text) {
    if (text.empty()) return fail(Code::invalid, "must not be empty");
    if (text.find('\0') != std::string_view::npos || text.find('\n') != std::string_view::npos)
        return fail(Code::invalid, "must be one line of text");
    HF_TRY(check_choice(setting, text));
    if (setting.form == Form::address) HF_TRY(parse_address(text));
    if (setting.form == Form::cores) HF_TRY(cores::parse_choice(text));
    member = text;
    return {};
}

constexpr std::size_t list_elements_max = 256;

template <class T>
base::Result<> append(std::vector<T>& list, base::Result<T> element) {
    if (!element) return std::unexpected(std::move(element).error());
    if (list.size() >= list_elements_max)
        return fail(Code::invalid, "must have at most {} elements", list_elements_max);
    list.push_back(*std::move(element));
    return {};
}

}  // namespace

std::span<const Setting> table() { return settings_table; }

const Setting* find(std::string_view name) {
    const auto found = std::ranges::find(settings_table, name, &Setting::name);
    return found == settings_table.end() ? nullptr : &*found;
}

std::span<const std::string> names() {
    static const auto all = [] {
        std::vector<std::string> names;
        names.reserve(std::size(settings_table));
        for (const Setting& setting : settings_table) names.emplace_back(setting.name);
        return names;
    }();
    return all;
}

std::string environment_name(const Setting& setting) {
    std::string out = "HOLDFAST_";
    for (const char c : setting.name)
        out += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    return out;
}

bool is_list(const Setting& setting) {
    return std::holds_alternative<std::vector<Model>& (*)(Settings&)>(setting.member) ||
           std::holds_alternative<std::vector<External>& (*)(Settings&)>(setting.member);
}

bool can_be_automatic(const Setting& setting) { return setting.default_text == "auto"; }

std::string_view type_name(const Setting& setting) {
    if (setting.form == Form::address) return "address";
    if (setting.form == Form::cores) return "CPUs";
    const Overloaded name{
        [&](std::string& (*)(Settings&)) { return setting.form == Form::path ? "path" : "text"; },
        [](std::uint32_t& (*)(Settings&)) { return "whole number"; },
        [](std::uint64_t& (*)(Settings&)) { return "size"; },
        [](double& (*)(Settings&)) { return "number"; },
        [](bool& (*)(Settings&)) { return "true or false"; },
        [](std::chrono::milliseconds& (*)(Settings&)) { return "duration"; },
        [](std::vector<Model>& (*)(Settings&)) { return "list of models"; },
        [](std::vector<External>& (*)(Settings&)) { return "list of instances"; },
    };
    return std::visit(name, setting.member);
}

base::Result<> assign(const Setting& setting, Settings& settings, std::string_view text) {
    const Overloaded set{
        [&](std::string& (*at)(Settings&)) { return assign_text(setting, at(settings), text); },
        [&](std::uint32_t& (*at)(Settings&)) -> base::Result<> {
            HF_TRY_ASSIGN(const auto value, parse_integer(text));
            HF_TRY(check_limits(setting, value, text, parse_integer));
            at(settings) = static_cast<std::uint32_t>(value);
            return {};
        },
        [&](std::uint64_t& (*at)(Settings&)) -> base::Result<> {
            HF_TRY_ASSIGN(const auto value, parse_bytes(text));
            HF_TRY(check_limits(setting, value, text, parse_bytes));
            at(settings) = value;
            return {};
        },
        [&](double& (*at)(Settings&)) -> base::Result<> {
            HF_TRY_ASSIGN(const auto value, parse_number(text));
            HF_TRY(check_limits(setting, value, text, parse_number));
            at(settings) = value;
            return {};
        },
        [&](bool& (*at)(Settings&)) -> base::Result<> {
            HF_TRY_ASSIGN(at(settings), parse_switch(text));
            return {};
        },
        [&](std::chrono::milliseconds& (*at)(Settings&)) -> base::Result<> {
            HF_TRY_ASSIGN(const auto value, parse_duration(text));
            HF_TRY(check_limits(setting, value, text, parse_duration));
            at(settings) = value;
            return {};
        },
        [&](std::vector<Model>& (*at)(Settings&)) {
            return append(at(settings), parse_model(text));
        },
        [&](std::vector<External>& (*at)(Settings&)) {
            return append(at(settings), parse_external(text));
        },
    };
    return std::visit(set, setting.member);
}

void clear_list(const Setting& setting, Settings& settings) {
    const Overloaded clear{
        [&](std::vector<Model>& (*at)(Settings&)) { at(settings).clear(); },
        [&](std::vector<External>& (*at)(Settings&)) { at(settings).clear(); },
        [](auto) {},
    };
    std::visit(clear, setting.member);
}

std::vector<std::string> format(const Setting& setting, const Settings& settings) {
    auto& all = const_cast<Settings&>(settings);  // members are read here, never written
    using Texts = std::vector<std::string>;
    const Overloaded print{
        [&](std::string& (*at)(Settings&)) { return Texts{at(all)}; },
        [&](std::uint32_t& (*at)(Settings&)) { return Texts{fmt::to_string(at(all))}; },
        [&](std::uint64_t& (*at)(Settings&)) { return Texts{format_bytes(at(all))}; },
        [&](double& (*at)(Settings&)) { return Texts{fmt::format("{}", at(all))}; },
        [&](bool& (*at)(Settings&)) { return Texts{at(all) ? "true" : "false"}; },
        [&](std::chrono::milliseconds& (*at)(Settings&)) {
            return Texts{format_duration(at(all))};
        },
        [&](std::vector<Model>& (*at)(Settings&)) {
            Texts texts;
            for (const Model& model : at(all)) texts.push_back(format_model(model));
            return texts;
        },
        [&](std::vector<External>& (*at)(Settings&)) {
            Texts texts;
            for (const External& external : at(all)) texts.push_back(format_external(external));
            return texts;
        },
    };
    return std::visit(print, setting.member);
}

}  // namespace holdfast::config
