#include "app/config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "app/config/print.h"
#include "app/config/table.h"

namespace holdfast::config {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

// A machine of paper: its files and folders are named here.
struct Paper {
    std::map<std::string, std::string> files;
    std::set<std::string> folders;
    World world{.environment = {{"HOME", "/home/ada"}},
                .current_folder = "/srv",
                .executable_folder = "/opt/holdfast/build",
                .machine = cores::plain_machine(8),
                .is_folder = [this](const std::string& path) { return folders.contains(path); },
                .read_file = [this](const std::string& path) -> base::Result<std::string> {
                    if (!files.contains(path))
                        return base::fail(base::Code::not_found, "no such file");
                    return files[path];
                }};

    base::Result<Loaded> load(std::vector<Flag> flags = {}) {
        Sources sources{.file = std::nullopt, .flags = std::move(flags)};
        if (files.contains("h.yaml")) sources.file = "h.yaml";
        return config::load(sources, world);
    }
    // The message for a document that must be refused.
    std::string refusal(std::string yaml) {
        files["h.yaml"] = std::move(yaml);
        const auto loaded = load();
        return loaded ? "(accepted)" : loaded.error().what;
    }
};

// All that is set, as it is written.
std::vector<std::vector<std::string>> texts(const Settings& settings) {
    std::vector<std::vector<std::string>> all;
    for (const Setting& setting : table()) all.push_back(format(setting, settings));
    return all;
}

TEST(Load, WithoutAnySourceGivesTheDefaults) {
    Paper paper;
    paper.folders = {"/srv/models/tiny-r1"};
    const auto loaded = paper.load();
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    const Settings& s = loaded->settings;
    EXPECT_EQ(s.gateway.listen, "127.0.0.1:8080");
    EXPECT_EQ(s.state_dir, "/home/ada/.local/state/holdfast");
    ASSERT_EQ(s.workers.models.size(), 1U);
    EXPECT_EQ(s.workers.models[0], (Model{"/srv/models/tiny-r1", "tiny-r1"}));
    EXPECT_EQ(s.workers.instances, 2U);
    EXPECT_EQ(s.worker.threads, 4U);
    EXPECT_EQ(s.gateway.timeouts.first_token, milliseconds(120'000));
    EXPECT_EQ(s.gateway.retry.ratio, 0.1);
    EXPECT_TRUE(s.worker.engine.prefix_cache);
    EXPECT_EQ(s.worker.weights, "file");
    EXPECT_EQ(s.worker.kv_type, "f32");
    EXPECT_EQ(s.worker.numerics, "portable");
    for (const std::string& source : loaded->sources) EXPECT_EQ(source, "default");
}

TEST(Load, GivesEachWorkerOneThreadPerCoreOfItsShare) {
    Paper paper;
    paper.world.machine = cores::plain_machine(16);
    const auto threads = [&](std::vector<Flag> flags, bool one_worker) {
        Sources sources{.flags = std::move(flags), .isolated = true, .one_worker = one_worker};
        return config::load(sources, paper.world)->settings.worker.threads;
    };
    EXPECT_EQ(threads({}, false), 8U);
    EXPECT_EQ(threads({}, true), 16U);
    EXPECT_EQ(threads({{"worker.instances", "5", "x"}}, false), 3U);
    EXPECT_EQ(threads({{"worker.instances", "5", "x"}}, true), 3U);
    EXPECT_EQ(threads({{"worker.cores", "0-5", "x"}}, false), 3U);
    EXPECT_EQ(threads({{"worker.cores", "0-5", "x"}}, true), 6U);
    EXPECT_EQ(threads({{"worker.cores", "0-5:1/3", "x"}}, true), 2U);
    EXPECT_EQ(threads({{"worker.cores", "none", "x"}}, false), 8U);
    EXPECT_EQ(threads({{"worker.models", "a;b;c", "x"}, {"worker.instances", "8", "x"}}, false),
              1U);
}

TEST(Load, FindsOutNothingThatItWouldRefuse) {
    Paper paper;
    paper.world.machine = cores::plain_machine(1'000);
    const auto parent = paper.load();
    ASSERT_TRUE(parent.has_value()) << parent.error().what;
    Settings settings;
    for (const Setting& setting : table())
        for (const std::string& text : format(setting, parent->settings))
            EXPECT_TRUE(assign(setting, settings, text)) << setting.name << ": " << text;
}

TEST(Load, RefusesCpusThatAreNoList) {
    Paper paper;
    EXPECT_THAT(paper.refusal("worker: {cores: 3-1}"),
                HasSubstr("h.yaml:1:17: worker.cores must be auto, none or CPUs such as 0-3,8: it "
                          "has the range 3-1, which ends before it begins"));
    EXPECT_THAT(paper.refusal("worker: {cores: all}"), HasSubstr("worker.cores must be auto"));
    EXPECT_THAT(paper.refusal("worker: {cores: '0,99999'}"), HasSubstr("CPU 99999"));
}

TEST(Load, PrefersTheModelBesideTheBinary) {
    Paper paper;
    paper.folders = {"/srv/models/tiny-r1", "/opt/holdfast/build/../models/tiny-r1"};
    EXPECT_EQ(paper.load()->settings.workers.models[0].path, "/opt/holdfast/models/tiny-r1");
}

TEST(Load, LetsFlagsBeatEnvironmentBeatFileBeatDefault) {
    Paper paper;
    paper.files["h.yaml"] =
        "log: {level: warning}\nretry:\n  attempts_max: 3\nworker: {threads: 5}\n";
    paper.world.environment.emplace_back("HOLDFAST_RETRY_ATTEMPTS_MAX", "4");
    paper.world.environment.emplace_back("HOLDFAST_WORKER_THREADS", "6");
    const auto loaded = paper.load({{"worker.threads", "7", "--threads"}});
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    EXPECT_EQ(loaded->settings.log.level, spdlog::level::warn);
    EXPECT_EQ(loaded->settings.gateway.fruitless_attempts_max, 4U);
    EXPECT_EQ(loaded->settings.worker.threads, 7U);
    const auto source = [&](std::string_view name) {
        return loaded->sources[static_cast<std::size_t>(find(name) - table().data())];
    };
    EXPECT_EQ(source("log.level"), "h.yaml:1:7");
    EXPECT_EQ(source("retry.attempts_max"), "HOLDFAST_RETRY_ATTEMPTS_MAX");
    EXPECT_EQ(source("worker.threads"), "--threads");
}

TEST(Load, ReplacesAListAsAWholeAndCollectsRepeatedFlags) {
    Paper paper;
    paper.files["h.yaml"] = "worker: {models: [a, b]}";
    const auto loaded =
        paper.load({{"worker.models", "c=x", "--model"}, {"worker.models", "d", "--model"}});
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    EXPECT_EQ(loaded->settings.workers.models,
              (std::vector<Model>{{"/srv/c", "x"}, {"/srv/d", "d"}}));
}

TEST(Load, ReadsListsInLongFormFromTheFile) {
    Paper paper;
    paper.files["h.yaml"] =
        "external:\n  - {url: 'http://a:1/v1', kind: vllm, model: m, name: first, weight: 2}\n  - "
        "http://b:2\n"
        "worker:\n  models:\n    - {path: /m/x=y, name: z}\n";
    const auto loaded = paper.load();
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    EXPECT_EQ(format(*find("external"), loaded->settings),
              (std::vector<std::string>{"http://a:1,kind=vllm,model=m,name=first,weight=2",
                                        "http://b:2,kind=openai,name=x1"}));
    EXPECT_EQ(loaded->settings.workers.models, (std::vector<Model>{{"/m/x=y", "z"}}));
}

TEST(Load, TakesPathsInAFileRelativeToThatFile) {
    Paper paper;
    paper.files["conf/h.yaml"] =
        "worker: {models: [../m], template: own.json}\nstate_dir: state/\n";
    const auto loaded = load(Sources{.file = "conf/h.yaml"}, paper.world);
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    EXPECT_EQ(loaded->settings.workers.models[0], (Model{"/srv/m", "m"}));
    EXPECT_EQ(loaded->settings.state_dir, "/srv/conf/state");
    EXPECT_EQ(loaded->settings.worker.chat_template, "/srv/conf/own.json");
}

TEST(Load, TakesPathsOfFlagsRelativeToTheCurrentFolder) {
    Paper paper;
    paper.files["h.yaml"] = "worker: {template: deepseek-r1}\n";
    EXPECT_EQ(paper.load()->settings.worker.chat_template, "deepseek-r1");
    const auto loaded = paper.load({{"worker.template", "../own/t", "--template"},
                                    {"worker.models", "m", "--model"},
                                    {"state_dir", "s", "--state-dir"}});
    EXPECT_EQ(loaded->settings.worker.chat_template, "/own/t");
    EXPECT_EQ(loaded->settings.workers.models[0].path, "/srv/m");
    EXPECT_EQ(loaded->settings.state_dir, "/srv/s");
}

TEST(Load, StartsNoBundledModelBesideExternalInstances) {
    Paper paper;
    paper.folders = {"/srv/models/tiny-r1"};
    EXPECT_TRUE(
        paper.load({{"external", "http://a:1", "--instance"}})->settings.workers.models.empty());
}

TEST(Refusals, NamePlaceReasonAndNearestKey) {
    Paper paper;
    EXPECT_EQ(paper.refusal("gateway:\n  lisen: 127.0.0.1:80\n"),
              "h.yaml:2:3: unknown key \"gateway.lisen\"; did you mean \"gateway.listen\"?");
    EXPECT_EQ(paper.refusal("gatway:\n  listen: 127.0.0.1:80\n"),
              "h.yaml:1:1: unknown key \"gatway\"; did you mean \"gateway\"?");
    EXPECT_EQ(paper.refusal("listen: 127.0.0.1:80\n"),
              "h.yaml:1:1: unknown key \"listen\"; did you mean \"gateway.listen\"?");
    EXPECT_EQ(paper.refusal("timeouts:\n  total: 30\n"),
              "h.yaml:2:10: timeouts.total needs a unit: 30 could be meant as 30s, for example");
    EXPECT_EQ(paper.refusal("timeouts: {connect: -1s}"),
              "h.yaml:1:21: timeouts.connect must not be negative: -1s");
    EXPECT_EQ(paper.refusal("worker: {instances: 0}"),
              "h.yaml:1:21: worker.instances must be from 1 to 64, not 0");
    EXPECT_EQ(
        paper.refusal("log: {level: warnig}"),
        "h.yaml:1:14: log.level must be one of trace, debug, info, warning, error, not \"warnig\"; "
        "did you mean \"warning\"?");
}

TEST(Refusals, CoverDuplicatesInEveryForm) {
    Paper paper;
    EXPECT_EQ(paper.refusal("state_dir: /a\nstate_dir: /b\n"),
              "h.yaml:2:1: duplicate key \"state_dir\", first in line 1");
    EXPECT_THAT(paper.refusal("log: {level: info}\nlog: {level: warning}\n"),
                HasSubstr("h.yaml:2:1: duplicate"));
    EXPECT_THAT(paper.refusal("log: {level: info}\nlog.level: warning\n"),
                HasSubstr("h.yaml:2:1: duplicate"));
    EXPECT_THAT(paper.refusal("worker: {models: [a/m, b/m]}"), HasSubstr("two models named \"m\""));
    EXPECT_THAT(paper.refusal("external: ['http://a:1,name=n', 'http://b:1,name=n']"),
                HasSubstr("two instances named \"n\""));
}

TEST(Refusals, CoverWrongShapes) {
    Paper paper;
    for (const char* yaml : {"[1, 2]",
                             "just text",
                             "log: 3",
                             "log: [level]",
                             "log: {level: {a: b}}",
                             "log: {level: [info]}",
                             "log: {level: }",
                             "worker: {models: {a: b}}",
                             "worker: {models: [[a]]}",
                             "? [a]\n: b",
                             "worker: {instances: 1.5}",
                             "worker: {instances: true}",
                             "worker: {models: [{name: x}]}",
                             "worker: {models: [{path: x, colour: red}]}",
                             "external: [{url: 'http://a:1,kind=vllm'}]",
                             "engine: {prefix_cache: 1}",
                             "a: b\n---\nc: d",
                             "log: {level: info",
                             "\t- x",
                             "%YAML 9.9\n---\n<<: 3"})
        EXPECT_THAT(paper.refusal(yaml), HasSubstr("h.yaml:")) << yaml;
}

TEST(Refusals, AreAllToldAtOnceUpToALimit) {
    Paper paper;
    EXPECT_EQ(
        paper.refusal("foo1: 1\nlog: {level: x}\n"),
        "h.yaml:1:1: unknown key \"foo1\"\n"
        "h.yaml:2:14: log.level must be one of trace, debug, info, warning, error, not \"x\"");
    std::string many;
    for (int i = 0; i < 1000; ++i) many += "zzzzzzzzzzzz" + std::to_string(i) + ": 1\n";
    EXPECT_THAT(paper.refusal(many), HasSubstr("... and 980 more"));
}

TEST(Refusals, HoldAgainstBombsAndGarbage) {
    Paper paper;
    std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
    for (int i = 1; i < 40; ++i) {
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int k = 0; k < 9; ++k) bomb += (k ? ",*a" : "*a") + std::to_string(i - 1);
        bomb += "]\n";
    }
    EXPECT_THAT(paper.refusal(bomb + "worker: {models: *a39}\n"), HasSubstr("h.yaml:"));
    EXPECT_THAT(paper.refusal(std::string(100'000, '[')), HasSubstr("h.yaml:"));
    EXPECT_THAT(paper.refusal(std::string(2'000'000, 'a')), HasSubstr("larger than"));
    EXPECT_THAT(paper.refusal(std::string("\xff\xfe\x00\x01", 4)), HasSubstr("h.yaml:"));
    EXPECT_THAT(paper.refusal("worker: &w {models: [a], threads: *w}"), HasSubstr("h.yaml:"));
    std::string list = "worker: {models: [";
    for (int i = 0; i < 300; ++i) list += "m" + std::to_string(i) + ",";
    EXPECT_THAT(paper.refusal(list + "]}"), HasSubstr("at most 256 elements"));
}

TEST(Environment, RefusesUnknownVariablesWithASuggestion) {
    Paper paper;
    paper.world.environment.emplace_back("HOLDFAST_GATEWAY_LISTN", "127.0.0.1:1");
    EXPECT_EQ(paper.load().error().what,
              "unknown variable HOLDFAST_GATEWAY_LISTN; did you mean \"HOLDFAST_GATEWAY_LISTEN\"?");
}

TEST(Environment, LeavesTheVariablesOfKubernetesAndOfOtherUsesAlone) {
    Paper paper;
    for (const char* name :
         {"HOLDFAST_SERVICE_HOST", "HOLDFAST_SERVICE_PORT", "HOLDFAST_SERVICE_PORT_HTTP",
          "HOLDFAST_PORT_8080_TCP", "HOLDFAST_PORT_8080_TCP_ADDR", "HOLDFAST_URL"})
        paper.world.environment.emplace_back(name, "10.0.0.1");
    paper.world.environment.emplace_back("HOLDFAST_GATEWAY_PORT", "tcp://10.0.0.1:80");
    paper.world.environment.emplace_back("HOLDFAST_LOG_LEVEL", "");
    const auto loaded = paper.load();
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    EXPECT_EQ(loaded->settings.log.level, spdlog::level::info);
}

TEST(Environment, MayEndItsValuesWithALineBreakAsFilesDo) {
    Paper paper;
    paper.files["/h.yaml"] = "retry: {attempts_max: 3}\n";
    paper.world.environment = {
        {"HOLDFAST_CONFIG", "/h.yaml\n"},           {"HOLDFAST_LOG_LEVEL", "debug\r\n"},
        {"HOLDFAST_ENGINE_PREFIX_CACHE", " off\n"}, {"HOLDFAST_KEEPER_DRAIN", "2s\n"},
        {"HOLDFAST_WORKER_THREADS", "auto\n"},      {"HOLDFAST_WORKER_MODELS", "/m/a;/m/b\n"},
        {"HOLDFAST_EXTERNAL", "http://a:1/v1\n"},   {"HOLDFAST_GATEWAY_LISTEN", "\n"}};
    const auto loaded = paper.load();
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    EXPECT_EQ(loaded->settings.gateway.fruitless_attempts_max, 3U);
    EXPECT_EQ(loaded->settings.log.level, spdlog::level::debug);
    EXPECT_FALSE(loaded->settings.worker.engine.prefix_cache);
    EXPECT_EQ(loaded->settings.keeper.limits.drain_max, milliseconds(2'000));
    EXPECT_EQ(loaded->settings.workers.models, (std::vector<Model>{{"/m/a", "a"}, {"/m/b", "b"}}));
    EXPECT_EQ(loaded->settings.gateway.targets.at(0).url.text(), "http://a:1");
    EXPECT_EQ(loaded->settings.gateway.listen, "127.0.0.1:8080");
}

TEST(Environment, NamesTheFileAndListsWithSemicolons) {
    Paper paper;
    paper.files["/etc/h.yaml"] = "log: {level: debug}";
    paper.world.environment.emplace_back("HOLDFAST_CONFIG", "/etc/h.yaml");
    paper.world.environment.emplace_back("HOLDFAST_WORKER_MODELS", "/m/a;/m/b=c");
    const auto loaded = paper.load();
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    EXPECT_EQ(loaded->settings.log.level, spdlog::level::debug);
    EXPECT_EQ(loaded->settings.workers.models, (std::vector<Model>{{"/m/a", "a"}, {"/m/b", "c"}}));
}

TEST(Load, SaysWhichFileIsMissing) {
    Paper paper;
    const auto loaded = load(Sources{.file = "/none.yaml"}, paper.world);
    EXPECT_EQ(loaded.error().what, "/none.yaml: cannot be read: no such file");
}

std::vector<Flag> parse_set_flags(const std::vector<std::string>& arguments) {
    std::vector<Flag> flags;
    for (std::size_t i = 2; i < arguments.size(); i += 2) {
        const auto equals = arguments[i].find('=');
        flags.push_back({arguments[i].substr(0, equals), arguments[i].substr(equals + 1), "--set"});
    }
    return flags;
}

TEST(ToFlags, GivesAnotherProcessTheSameSettingsWhateverItsEnvironmentSays) {
    Paper paper;
    paper.files["h.yaml"] =
        "worker: {models: [a=b=c, d], instances: 3, template: t.json}\nretry: {ratio: 0.00001}\n"
        "external: ['http://x:1,kind=vllm']\nkeeper: {drain: 1500ms}\n"
        "engine: {prefix_cache: false}\nlog: {bytes_max: 1MB}\n";
    const auto parent = paper.load();
    ASSERT_TRUE(parent.has_value()) << parent.error().what;
    const auto arguments = to_flags(parent->settings);
    ASSERT_EQ(arguments[0], "--isolated");

    Paper other;
    other.world.environment = {{"HOLDFAST_LOG_LEVEL", "nonsense"}, {"HOLDFAST_NONSENSE", "1"}};
    other.world.machine = cores::plain_machine(3);
    other.world.current_folder = "/";
    const auto child =
        load(Sources{.file = std::nullopt, .flags = parse_set_flags(arguments), .isolated = true},
             other.world);
    ASSERT_TRUE(child.has_value()) << child.error().what;
    EXPECT_EQ(texts(child->settings), texts(parent->settings));
}

TEST(ToFlags, KeepsAnEmptyListEmpty) {
    Paper paper;
    const auto parent = paper.load();
    ASSERT_TRUE(parent->settings.workers.models.empty());
    paper.folders = {"/srv/models/tiny-r1"};
    const auto child = load(Sources{.file = std::nullopt,
                                    .flags = parse_set_flags(to_flags(parent->settings)),
                                    .isolated = true},
                            paper.world);
    EXPECT_EQ(texts(child->settings), texts(parent->settings));
}

TEST(PrintYaml, IsReadBackToTheSameSettings) {
    Paper paper;
    paper.files["h.yaml"] =
        "state_dir: '/a \"b\" # c'\nworker: {models: [a b=c]}\n"
        "external: ['http://x:1,kind=vllm']\n";
    const auto first = paper.load();
    ASSERT_TRUE(first.has_value()) << first.error().what;
    const auto printed = print_yaml(*first);
    EXPECT_THAT(printed, HasSubstr("  listen: \"127.0.0.1:8080\"  # default\n"));
    paper.files["h.yaml"] = printed;
    const auto second = paper.load();
    ASSERT_TRUE(second.has_value()) << second.error().what << printed;
    EXPECT_EQ(texts(second->settings), texts(first->settings));
}

TEST(Table, HasUniqueNamesSoundDefaultsAndCanonicalTexts) {
    std::set<std::string> variables;
    const auto loaded = Paper().load();
    ASSERT_TRUE(loaded.has_value()) << loaded.error().what;
    for (const Setting& setting : table()) {
        EXPECT_TRUE(variables.insert(environment_name(setting)).second) << setting.name;
        EXPECT_FALSE(setting.help.empty()) << setting.name;
        EXPECT_EQ(setting.least.empty(), setting.most.empty()) << setting.name;
        Settings settings;
        if (!is_list(setting)) {
            EXPECT_TRUE(assign(setting, settings, default_text(setting))) << setting.name;
            EXPECT_EQ(format(setting, settings)[0], default_text(setting)) << setting.name;
        }
        for (const std::string_view limit : {setting.least, setting.most})
            if (!limit.empty())
                EXPECT_TRUE(assign(setting, settings, limit).has_value()) << setting.name;
    }
}

TEST(Reference, MentionsEverySettingOnce) {
    const auto text = print_reference();
    for (const Setting& setting : table())
        EXPECT_THAT(text, HasSubstr("| `" + std::string(setting.name) + "` |"));
    EXPECT_THAT(text, Not(HasSubstr("variant")));
}

}  // namespace
}  // namespace holdfast::config
