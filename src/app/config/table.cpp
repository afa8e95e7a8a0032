#include "app/config/table.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "app/config/values.h"
#include "common/cores/placement.h"
#include "service/balance/policy.h"

namespace holdfast::config {
namespace {

// The member at the end of a path of member pointers.
template <auto... path>
auto& at(Settings& settings) {
    return (settings.*....*path);
}

using S = Settings;
using G = gateway::Options;
using T = gateway::Timeouts;
using R = gateway::RetryBudget::Limits;
using H = fleet::HealthOptions;
using W = worker::Options;
using E = engine::Options;
using K = keeper::Options;
using C = keeper::ChildLimits;

template <auto parse>
base::Result<> parses(std::string_view text) {
    HF_TRY(parse(text));
    return {};
}

std::string policy_names() {
    std::vector<std::string_view> names;
    for (const balance::PolicyKind& kind : balance::policies()) names.push_back(kind.name);
    return fmt::format("{}", fmt::join(names, ", "));
}

constexpr Form path{"path"};
constexpr Form address{"address", parses<parse_address>};
constexpr Form cpus{"CPUs", parses<cores::parse_choice>};
constexpr Form policy{"name", parses<balance::make_policy>, policy_names};

const std::array settings_table{
    Setting{.name = "state_dir",
            .member = at<&S::state_dir>,
            .help = "folder for the lock and the logs of one service; by default "
                    "$XDG_STATE_HOME/holdfast or ~/.local/state/holdfast",
            .automatic = true,
            .form = path,
            .flag = "--state-dir",
            .flag_commands = serve,
            .flag_value = "DIR"},

    Setting{.name = "external",
            .member = at<&S::gateway, &G::targets>,
            .help =
                "instances that somebody else runs, each URL[,kind=KIND][,model=NAME][,name=ID] "
                "with kind holdfast, vllm, llama-server or openai",
            .flag = "--instance",
            .flag_commands = serve | gateway,
            .flag_value = "URL[,kind=...,model=...]"},

    Setting{.name = "log.level",
            .member = at<&S::log, &telemetry::LogOptions::level>,
            .help = "least severe message that is logged",
            .choices = "trace|debug|info|warning|error"},
    Setting{.name = "log.bytes_max",
            .member = at<&S::keeper, &K::logs, &keeper::LogLimits::bytes_max>,
            .help = "size at which the log file of a process is rotated",
            .least = "64KiB",
            .most = "256MiB"},
    Setting{.name = "log.files_kept",
            .member = at<&S::keeper, &K::logs, &keeper::LogLimits::files_kept>,
            .help = "rotated log files kept of each process",
            .least = "0",
            .most = "100"},

    Setting{.name = "gateway.listen",
            .member = at<&S::gateway, &G::listen>,
            .help = "address and port for clients; 0.0.0.0:PORT admits other machines",
            .form = address,
            .flag = "--listen",
            .flag_commands = serve | gateway,
            .flag_value = "HOST:PORT"},
    Setting{.name = "gateway.balance",
            .member = at<&S::gateway, &G::policy>,
            .help = "how an instance is chosen for a request",
            .form = policy,
            .flag = "--balance",
            .flag_commands = serve | gateway,
            .flag_value = "NAME"},
    Setting{.name = "gateway.threads",
            .member = at<&S::gateway, &G::loops>,
            .help = "event loops of the gateway; by default one per core",
            .least = "1",
            .most = "64",
            .automatic = true},
    Setting{.name = "gateway.ping_every",
            .member = at<&S::gateway, &G::pings, &gateway::Pings::every>,
            .help = "how often a client hears something while there is nothing to say",
            .least = "100ms",
            .most = "1h"},
    Setting{.name = "gateway.head_after",
            .member = at<&S::gateway, &G::pings, &gateway::Pings::head_after>,
            .help = "how long the head of a stream waits for the first token; until then an error "
                    "can have a status of its own",
            .least = "0ms",
            .most = "1h"},
    Setting{.name = "gateway.whole_after",
            .member = at<&S::gateway, &G::pings, &gateway::Pings::whole_after>,
            .help =
                "time after which an answer that is not streamed begins with white space, so "
                "that nobody gives up on it; from then on an error has status 200; 0ms is never",
            .least = "0ms",
            .most = "1h"},

    Setting{.name = "worker.models",
            .member = at<&S::workers, &Workers::models>,
            .help =
                "a model folder in the Hugging Face layout, a GGUF file or the name of a pulled "
                "model; by default the bundled tiny-r1, unless there are external instances",
            .automatic = true,
            .form = path,
            .flag = "--model",
            .flag_commands = serve | worker,
            .flag_value = "PATH[=NAME]"},
    Setting{.name = "worker.instances",
            .member = at<&S::workers, &Workers::instances>,
            .help = "processes that are started for each model",
            .least = "1",
            .most = "64",
            .flag = "--instances",
            .flag_commands = serve,
            .flag_value = "N"},
    Setting{.name = "worker.threads",
            .member = at<&S::worker, &W::threads>,
            .help = "computing threads of each instance; by default one per physical core of its "
                    "share of worker.cores, within the processor time that a container grants",
            .least = "1",
            .most = "1024",
            .automatic = true,
            .flag = "--threads",
            .flag_commands = serve | worker,
            .flag_value = "N"},
    Setting{.name = "worker.cores",
            .member = at<&S::workers, &Workers::cores>,
            .help = "CPUs for computing threads, such as 0-3,8, shared out among the instances: "
                    "each thread keeps to a core of its own while there are enough; none leaves "
                    "threads to the system; auto takes all CPUs that are allowed, and under "
                    "`serve` keeps threads to a core each where an instance has one to spare, or "
                    "to its share where there are several NUMA nodes",
            .form = cpus,
            .flag = "--cores",
            .flag_commands = serve | worker,
            .flag_value = "auto|none|CPUS"},
    Setting{
        .name = "worker.tokens_per_second",
        .member = at<&S::worker, &W::tokens_per_second>,
        .help = "most tokens a second in one stream, for reading along; 0 is as fast as it goes",
        .least = "0",
        .most = "1000000"},
    Setting{.name = "worker.template",
            .member = at<&S::worker, &W::chat_template>,
            .help = "how conversations are written for the model: deepseek-r1-distill, "
                    "deepseek-r1-distill-no-think, deepseek-r1, deepseek-r1-no-think, or the path "
                    "of a JSON file that describes it; by default the model's own template, if it "
                    "is one of these",
            .automatic = true,
            .flag = "--template",
            .flag_commands = serve | worker,
            .flag_value = "NAME|FILE"},
    Setting{
        .name = "worker.listen",
        .member = at<&S::worker, &W::listen>,
        .help = "address and port of an instance that is started alone; `serve` picks free ports",
        .form = address,
        .flag = "--listen",
        .flag_commands = worker,
        .flag_value = "HOST:PORT"},

    Setting{.name = "timeouts.connect",
            .member = at<&S::gateway, &G::timeouts, &T::connect>,
            .help = "longest wait for a connection to an instance",
            .least = "1ms",
            .most = "10min"},
    Setting{.name = "timeouts.place",
            .member = at<&S::gateway, &G::timeouts, &T::place>,
            .help = "longest wait for an instance that is ready, before a request gets 503",
            .least = "1ms",
            .most = "1d"},
    Setting{
        .name = "timeouts.resume",
        .member = at<&S::gateway, &G::timeouts, &T::resume>,
        .help = "longest wait of an answer that has begun for an instance that can go on with it",
        .least = "1ms",
        .most = "7d"},
    Setting{.name = "timeouts.first_token",
            .member = at<&S::gateway, &G::timeouts, &T::first_token>,
            .help = "longest silence of an instance before the first token of an answer; a worker "
                    "that makes progress is not silent",
            .least = "1ms",
            .most = "1d"},
    Setting{.name = "timeouts.token_gap",
            .member = at<&S::gateway, &G::timeouts, &T::token_gap>,
            .help = "longest silence of an instance after it",
            .least = "1ms",
            .most = "1d"},
    Setting{.name = "timeouts.total",
            .member = at<&S::gateway, &G::timeouts, &T::total>,
            .help = "longest time for a whole answer, retries included",
            .least = "1ms",
            .most = "7d"},

    Setting{.name = "retry.attempts_max",
            .member = at<&S::gateway, &G::fruitless_attempts_max>,
            .help = "attempts in a row that may bring a request nothing new before it is given up",
            .least = "1",
            .most = "100"},
    Setting{.name = "retry.ratio",
            .member = at<&S::gateway, &G::retry, &R::ratio>,
            .help = "retries allowed for each request that came in",
            .least = "0",
            .most = "10"},
    Setting{.name = "retry.min_per_second",
            .member = at<&S::gateway, &G::retry, &R::min_per_second>,
            .help = "retries allowed in each second, however few requests came in",
            .least = "0",
            .most = "100000"},

    Setting{.name = "health.probe_every",
            .member = at<&S::gateway, &G::health, &H::probe_every>,
            .help = "time between two probes of an instance",
            .least = "10ms",
            .most = "1min"},
    Setting{.name = "health.probe_silence_max",
            .member = at<&S::gateway, &G::health, &H::probe_silence_max>,
            .help = "an instance that answers no probe for that long is hung",
            .least = "20ms",
            .most = "10min"},
    Setting{.name = "health.probe_external_silence_max",
            .member = at<&S::gateway, &G::health, &H::probe_external_silence_max>,
            .help = "the same for instances that somebody else runs, whose event loops stand still "
                    "under load",
            .least = "20ms",
            .most = "10min"},
    Setting{.name = "health.progress_silence_max",
            .member = at<&S::gateway, &G::health, &H::progress_silence_max>,
            .help = "an instance that has work and makes no progress for that long is hung",
            .least = "20ms",
            .most = "10min"},
    Setting{.name = "health.trial_silence_max",
            .member = at<&S::gateway, &G::health, &H::trial_silence_max>,
            .help = "an instance that somebody else runs, whose answers have stood still for "
                    "progress_silence_max and that says not one token for that long, is hung",
            .least = "20ms",
            .most = "10min"},
    Setting{.name = "health.sick_max",
            .member = at<&S::gateway, &G::health, &H::sick_max>,
            .help = "failures in a row after which an instance gets no requests",
            .least = "1",
            .most = "1000"},
    Setting{.name = "health.breaker",
            .member = at<&S::gateway, &G::health, &H::breaker_ms>,
            .help = "first pause of such an instance; doubles up to 30s",
            .least = "10ms",
            .most = "30s"},

    Setting{
        .name = "engine.kv_tokens",
        .member = at<&S::worker, &W::kv_tokens>,
        .help =
            "tokens that the key-value cache of an instance holds, for all its requests together",
        .least = "16",
        .most = "134217728"},
    Setting{.name = "engine.batch_tokens_max",
            .member = at<&S::worker, &W::batch_tokens_max>,
            .help = "most tokens computed in one step",
            .least = "1",
            .most = "65536"},
    Setting{.name = "engine.prefill_tokens_max",
            .member = at<&S::worker, &W::engine, &E::prefill_tokens_max>,
            .help = "most prompt tokens computed in one step; fewer make running answers smoother",
            .least = "1",
            .most = "65536"},
    Setting{.name = "engine.running_max",
            .member = at<&S::worker, &W::engine, &E::running_max>,
            .help = "most answers generated together by one instance",
            .least = "1",
            .most = "4096"},
    Setting{.name = "engine.waiting_max",
            .member = at<&S::worker, &W::engine, &E::waiting_max>,
            .help = "most answers waiting inside one instance; above that it refuses",
            .least = "1",
            .most = "1000000"},
    Setting{.name = "engine.prefix_cache",
            .member = at<&S::worker, &W::engine, &E::prefix_cache>,
            .help = "keep the computed beginnings of prompts for requests that begin alike"},
    Setting{.name = "engine.weights",
            .member = at<&S::worker, &W::weights>,
            .help = "type that weights are converted to while loading: fewer bits are faster and "
                    "less exact; file leaves them as they are, q8 is q8_0 and q4 is q4_0; what has "
                    "no whole blocks of the type becomes q8_0 or f16",
            .choices = "file|q8|q4|f32|bf16|f16|q8_0|q6_k|q5_k|q4_k|q4_0",
            .flag = "--weights",
            .flag_commands = serve | worker,
            .flag_value = "TYPE"},
    Setting{
        .name = "engine.kv_type",
        .member = at<&S::worker, &W::kv_type>,
        .help = "type that keys and values are kept in; bf16 takes half the memory, q8 a quarter",
        .choices = "f32|bf16|q8"},
    Setting{
        .name = "engine.numerics",
        .member = at<&S::worker, &W::numerics>,
        .help =
            "portable gives the same answers on every processor; native is faster for bf16 weights "
            "where there are bf16 dot products, and resumes exactly only among such processors",
        .choices = "portable|native"},
    Setting{.name = "engine.speculation_tokens_max",
            .member = at<&S::worker, &W::engine, &E::speculation_tokens_max>,
            .help = "most tokens guessed ahead in one step of an answer that repeats itself or its "
                    "prompt; never changes an answer; 0 is off",
            .least = "0",
            .most = "64"},
    Setting{
        .name = "engine.batch_wait",
        .member = at<&S::worker, &W::engine, &E::batch_wait>,
        .help = "longest time that an idle instance lets a request wait for others to begin with",
        .least = "0ms",
        .most = "100ms"},

    Setting{.name = "keeper.backoff_first",
            .member = at<&S::keeper, &K::limits, &C::backoff_first>,
            .help = "pause before a process that died is started again; doubles with each death",
            .least = "1ms",
            .most = "1h"},
    Setting{.name = "keeper.backoff_max",
            .member = at<&S::keeper, &K::limits, &C::backoff_max>,
            .help = "longest such pause",
            .least = "1ms",
            .most = "1h"},
    Setting{.name = "keeper.backoff_reset",
            .member = at<&S::keeper, &K::limits, &C::backoff_reset>,
            .help = "time of good health after which the pause is short again",
            .least = "1ms",
            .most = "1d"},
    Setting{.name = "keeper.hang_kill",
            .member = at<&S::keeper, &K::limits, &C::silence_max>,
            .help = "a process that shows no progress for that long is killed and started again",
            .least = "1s",
            .most = "1h"},
    Setting{.name = "keeper.start_timeout",
            .member = at<&S::keeper, &K::limits, &C::start_max>,
            .help = "longest time for a process to become ready, loading its model included",
            .least = "1s",
            .most = "1d"},
    Setting{.name = "keeper.drain",
            .member = at<&S::keeper, &K::limits, &C::drain_max>,
            .help = "time for running answers to end when the service is told to stop",
            .least = "0ms",
            .most = "1d"},
};

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

}  // namespace holdfast::config
