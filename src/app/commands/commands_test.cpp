#include "app/commands/commands.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "app/commands/serve.h"
#include "app/config/load.h"
#include "app/config/table.h"
#include "common/base/test_folder.h"
#include "tools/cli/test_capture.h"

namespace holdfast::commands {
namespace {

using cli::testing::Said;
using testing::HasSubstr;
using testing::Not;

Said say(const std::vector<std::string>& arguments) {
    return cli::testing::capture(
        [&](const cli::Streams& streams) { return run(arguments, streams); });
}

std::string write_file(const std::string& path, std::string_view text) {
    std::ofstream(path) << text;
    return path;
}

TEST(CommandLine, ExplainsItself) {
    EXPECT_THAT(say({"--help"}).output, HasSubstr("holdfast serve"));
    EXPECT_EQ(say({"--help"}).code, 0);
    const auto nothing = say({});
    EXPECT_EQ(nothing.code, usage_exit);
    EXPECT_THAT(nothing.error, HasSubstr("Subcommands:"));
    EXPECT_THAT(say({"version"}).output, testing::StartsWith("holdfast "));
    EXPECT_EQ(say({"--version"}).output, say({"version"}).output);
}

TEST(CommandLine, OffersEveryFlagOfTheTable) {
    const auto help = say({"serve", "--help"}).output;
    for (const config::Setting& setting : config::table())
        if ((setting.flag_commands & config::serve) != 0)
            EXPECT_THAT(help, HasSubstr(fmt::format("  {} {}", setting.flag, setting.flag_value)));
}

TEST(CommandLine, SuggestsWhatWasMeant) {
    const auto flag = say({"serve", "--lisen", "127.0.0.1:1"});
    EXPECT_EQ(flag.code, usage_exit);
    EXPECT_THAT(flag.error,
                HasSubstr("did you mean \"--listen\"?\n  next: holdfast serve --help\n"));
    EXPECT_THAT(say({"srve"}).error, HasSubstr("did you mean \"serve\"?"));
    EXPECT_EQ(say({"chat", "--temperature", "hot"}).code, usage_exit);
    EXPECT_EQ(say({"status", "-o", "xml"}).code, usage_exit);
}

TEST(Config, PrintsValuesWithTheirSources) {
    const auto said = say({"config", "--isolated", "--threads", "3", "--set", "log.level=debug",
                           "--model", "/m/a", "--model", "/m/b=c"});
    EXPECT_EQ(said.code, 0);
    EXPECT_THAT(said.output, HasSubstr("  level: debug  # --set\n"));
    EXPECT_THAT(said.output, HasSubstr("  threads: 3  # --threads\n"));
    EXPECT_THAT(said.output, HasSubstr("  models:  # --model\n    - /m/a=a\n    - /m/b=c\n"));
}

TEST(Config, ChecksAFile) {
    const base::testing::TemporaryFolder temporary;
    const std::string& folder = temporary.path();
    const auto good = write_file(folder + "/good.yaml", "log: {level: debug}\n");
    const auto bad = write_file(folder + "/bad.yaml", "log:\n  levl: debug\n");
    EXPECT_EQ(say({"config", "check", good}).output, good + ": ok\n");
    const auto said = say({"config", "check", bad});
    EXPECT_EQ(said.code, usage_exit);
    EXPECT_THAT(said.error,
                HasSubstr(bad + ":2:3: unknown key \"log.levl\"; did you mean \"log.level\"?"));
    EXPECT_EQ(say({"config", "check", folder + "/none.yaml"}).code, usage_exit);
    EXPECT_EQ(say({"config", "--set", "nonsense"}).code, usage_exit);
    EXPECT_THAT(say({"config", "reference"}).output, HasSubstr("`HOLDFAST_LOG_LEVEL`"));
}

TEST(Serve, SaysWhatIsMissingBeforeAnythingStarts) {
    const base::testing::TemporaryFolder temporary;
    const std::string& folder = temporary.path();
    const std::string state = folder + "/state";
    const auto none =
        say({"serve", "--isolated", "--state-dir", state, "--model", folder + "/none"});
    EXPECT_EQ(none.code, 1);
    EXPECT_THAT(none.error, HasSubstr("there is no " + folder + "/none\n  next: check --model"));
    EXPECT_THAT(say({"serve", "--isolated", "--state-dir", state, "--model", folder}).error,
                HasSubstr("/config.json is missing"));
    EXPECT_THAT(say({"serve", "--isolated", "--state-dir", state, "--set", "worker.models="}).error,
                HasSubstr("there is no model to serve"));
    const auto policy = say({"serve", "--isolated", "--state-dir", state, "--instance",
                             "http://h:1", "--balance", "fastest"});
    EXPECT_EQ(policy.code, usage_exit);
    EXPECT_THAT(policy.error, HasSubstr("least_outstanding"));
    EXPECT_FALSE(std::filesystem::exists(state));
}

TEST(PlanService, GivesEveryWorkerItsModelAndTheRestOfTheSettings) {
    config::Sources sources{.flags = {{"worker.models", "/m/a", "x"},
                                      {"worker.models", "/m/b", "x"},
                                      {"external", "http://h:1", "x"},
                                      {"retry.attempts_max", "3", "x"}},
                            .isolated = true};
    const auto settings = config::load(sources, config::system_world())->settings;
    const auto plan = plan_service(settings);
    ASSERT_EQ(plan.workers.size(), 4U);
    EXPECT_EQ(plan.workers[0].id + plan.workers[1].id + plan.workers[2].id + plan.workers[3].id,
              "abcd");
    EXPECT_EQ(plan.workers[2].model, "b");
    EXPECT_EQ(plan.external_instances, 1U);
    const auto& arguments = plan.workers[2].arguments;
    EXPECT_EQ(arguments[0], "worker");
    EXPECT_THAT(arguments, testing::Contains("worker.models=/m/b=b"));
    EXPECT_THAT(arguments, Not(testing::Contains("worker.models=/m/a=a")));
    EXPECT_THAT(arguments, testing::Contains("worker.listen=127.0.0.1:0"));
    EXPECT_THAT(arguments, testing::Contains("retry.attempts_max=3"));
    EXPECT_THAT(plan.gateway_arguments,
                testing::Contains("external=http://h:1,kind=openai,name=x1"));
}

TEST(PlanService, GivesEveryWorkerItsOwnShareOfTheCores) {
    const auto plan = [](std::vector<config::Flag> flags) {
        const config::Sources sources{.flags = std::move(flags), .isolated = true};
        return plan_service(config::load(sources, config::system_world())->settings);
    };
    const auto defaults = plan({{"worker.models", "/m/a", "x"}, {"worker.models", "/m/b", "x"}});
    ASSERT_EQ(defaults.workers.size(), 4U);
    EXPECT_THAT(defaults.workers[0].arguments, testing::Contains("worker.cores=auto:1/4"));
    EXPECT_THAT(defaults.workers[3].arguments, testing::Contains("worker.cores=auto:4/4"));
    const auto listed = plan({{"worker.models", "/m/a", "x"}, {"worker.cores", "0-3", "x"}});
    EXPECT_THAT(listed.workers[1].arguments, testing::Contains("worker.cores=0-3:2/2"));
    EXPECT_THAT(listed.gateway_arguments, Not(testing::Contains(HasSubstr("worker.cores"))));
}

TEST(Cores, ThatAreNotThereAreRefusedBeforeAnythingStarts) {
    const base::testing::TemporaryFolder folder;
    const std::string state = folder.path() + "/state",
                      model = HOLDFAST_SOURCE_DIR "/models/tiny-r1";
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"serve", "--state-dir", state}, {"worker"}}) {
        const auto refusal = [&](const std::string& cores) {
            std::vector<std::string> arguments = command;
            arguments.insert(arguments.end(), {"--isolated", "--model", model, "--cores", cores});
            const auto said = say(arguments);
            EXPECT_EQ(said.code, usage_exit);
            return said.error;
        };
        EXPECT_THAT(refusal("0-8191"), HasSubstr("worker.cores: has CPU ")) << command[0];
        EXPECT_THAT(refusal("8191"),
                    HasSubstr("has CPU 8191, which this machine does not have: it has "));
        EXPECT_THAT(refusal("8192"), HasSubstr("--cores: worker.cores must be auto, none or CPUs"));
        EXPECT_THAT(refusal(""), HasSubstr("worker.cores must not be empty"));
    }
    EXPECT_THAT(
        say({"serve", "--isolated", "--state-dir", state, "--model", model, "--cores", "auto:1/2"})
            .error,
        HasSubstr("worker.cores: is a share, which is for one `holdfast worker`"));
    EXPECT_FALSE(std::filesystem::exists(state));
    EXPECT_THAT(say({"perf", model, "--cores", "8191"}).error, HasSubstr("--cores: has CPU 8191"));
}

TEST(Quantize, WritesAFileAndReportsIt) {
    const base::testing::TemporaryFolder temporary;
    const std::string& folder = temporary.path();
    const std::string model = HOLDFAST_SOURCE_DIR "/models/tiny-r1", out = folder + "/q.gguf";
    const auto said = say({"quantize", model, out, "--type", "q8_0", "--threads", "2"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr(out + ": 1.1 MiB, 8.55 bits per weight\n"));
    EXPECT_THAT(said.output, HasSubstr("q8_0         30         1048576"));
    EXPECT_EQ(said.error, "");  // no progress where nobody watches
    const auto again = say({"quantize", model, out, "--type", "q8_0"});
    EXPECT_EQ(again.code, 1);
    EXPECT_THAT(again.error, HasSubstr("exists already\n  next: --force replaces it"));
    const auto smaller = say({"quantize", out, out + "2", "--type", "q4_0", "--head", "q8_0"});
    EXPECT_EQ(smaller.code, 0);
    EXPECT_THAT(smaller.output, HasSubstr("quantized already"));
}

TEST(Quantize, SaysWhatIsWrongWithTheCommand) {
    const auto type = say({"quantize", "in", "out", "--type", "q4_kk"});
    EXPECT_EQ(type.code, usage_exit);
    EXPECT_THAT(type.error, HasSubstr("\"q4_kk\" is no type"));
    EXPECT_THAT(type.error, HasSubstr("did you mean \"q4_k\"?"));
    EXPECT_EQ(say({"quantize", "in", "out", "--type", "q8_0", "--head", "x"}).code, usage_exit);
    EXPECT_EQ(say({"quantize", "in", "out"}).code, usage_exit);
    const base::testing::TemporaryFolder temporary;
    const std::string& folder = temporary.path();
    EXPECT_THAT(say({"quantize", folder, folder + "/q.gguf", "--type", "q8_0"}).error,
                HasSubstr("config.json: No such file"));
    EXPECT_THAT(say({"quantize", folder + "/a.gguf", folder + "/q.gguf", "--type", "q8_0"}).error,
                HasSubstr("a.gguf"));
}

// `serve` in a process of its own, with stand-ins for gateway and workers.
class Service {
public:
    Service(const std::string& state, const std::string& listen) {
        std::array<int, 2> pipe{};
        EXPECT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
        pid_ = ::fork();
        if (pid_ == 0) ::_exit(serve_fakes(state, listen, pipe[1]));
        ::close(pipe[1]);
        console_.reset(pipe[0]);
    }
    ~Service() {
        if (pid_ > 0) stop();
    }
    // Everything up to and with the line that contains `text`, or to the end.
    std::string read_to(std::string_view text) {
        std::string said;
        std::array<char, 1> byte;
        while (said.find(text) == said.npos || !said.ends_with('\n')) {
            pollfd ready{console_.get(), POLLIN, 0};
            if (::poll(&ready, 1, 60'000) != 1 || ::read(console_.get(), byte.data(), 1) != 1)
                break;
            said += byte[0];
        }
        return said;
    }
    int stop() {
        ::kill(pid_, SIGTERM);
        return wait_exit();
    }
    int wait_exit() {
        int status = 0;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

private:
    static int serve_fakes(const std::string& state, const std::string& listen, int console) {
        const config::Sources sources{.flags = {{"state_dir", state, "x"},
                                                {"gateway.listen", listen, "x"},
                                                {"external", "http://127.0.0.1:1", "x"}},
                                      .isolated = true};
        const auto loaded = config::load(sources, config::system_world());
        if (!loaded) return 99;
        return serve(loaded->settings, Shell{.streams = {0, console, console}, .chosen = nullptr},
                     HOLDFAST_FAKE_CHILD);
    }

    pid_t pid_ = -1;
    base::UniqueFd console_;
};

TEST(Serve, RunsTwoServicesSideBySideButNoneTwice) {
    const base::testing::TemporaryFolder temporary;
    const std::string& folder = temporary.path();
    Service first(folder + "/1", "127.0.0.1:0");
    const auto said = first.read_to("ready on http://127.0.0.1:");
    EXPECT_THAT(said, HasSubstr("(1 external instance)"));
    const auto at = said.find("ready on http://") + 16;
    const auto address = said.substr(at, said.find(' ', at) - at);

    Service second(folder + "/2", "127.0.0.1:0");
    EXPECT_THAT(second.read_to("ready on"), HasSubstr("ready on"));

    Service same_port(folder + "/3", address);
    EXPECT_THAT(same_port.read_to("ss -ltnp"), HasSubstr("Address already in use"));
    EXPECT_EQ(same_port.wait_exit(), 1);

    Service same_state(folder + "/1", "127.0.0.1:0");
    EXPECT_THAT(same_state.read_to("--state-dir"),
                HasSubstr("in use by another service (process "));
    EXPECT_EQ(same_state.wait_exit(), 1);

    EXPECT_EQ(first.stop(), 0);
    EXPECT_EQ(second.stop(), 0);
}

}  // namespace
}  // namespace holdfast::commands
