#include "tools/hub/pull.h"

#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <memory>

#include "app/commands/commands.h"
#include "app/commands/interrupt_flag.h"
#include "common/base/clock.h"

namespace holdfast::commands {
namespace {

struct PullFlags {
    std::string model, to, kind, token;
    std::vector<std::string> include;
    int jobs = 8;
};

// Says how far a pull is: on a terminal in one line that changes, else in a line now and then.
class Reporter {
public:
    Reporter(int fd, const base::Clock& clock)
        : fd_(fd), terminal_(cli::is_terminal(fd)), clock_(clock), line_(clock) {}

    void progress(const hub::Progress& progress) {
        const auto now = clock_.now();
        const auto every = terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(10);
        auto text = line_.update(progress);
        const bool is_end = progress.files_done == progress.files_total;
        if (!progress.finished.empty() && !terminal_)
            say(fmt::format("{}: {}", progress.finished, text));
        if (progress.bytes_before > 0 && !said_before_) {
            said_before_ = true;
            say(fmt::format("{} are there already", hub::format_size(progress.bytes_before)));
        }
        if (now < due_ && !(terminal_ && is_end)) return;
        due_ = now + every;
        if (!terminal_) {
            if (progress.finished.empty() && progress.bytes_done > progress.bytes_before) say(text);
            return;
        }
        cli::write_text(fd_, "\r\033[K" + text);
        open_ = true;
    }

    void say(const std::string& text) {
        close();
        cli::write_text(fd_, cli::printable(text) + "\n");
    }

    // Ends the line that changes.
    void close() {
        if (open_) cli::write_text(fd_, "\n");
        open_ = false;
    }

private:
    int fd_;
    bool terminal_, open_ = false, said_before_ = false;
    const base::Clock& clock_;
    hub::ProgressLine line_;
    base::Instant due_{};
};

// What serves it: by name from the cache, by path from anywhere else.
std::string serve_line(const PullFlags& flags, const hub::Pulled& pulled) {
    const bool by_name = flags.to.empty() && flags.include.empty();
    return fmt::format("holdfast serve --model {}", by_name ? flags.model : pulled.path);
}

int report_error(const base::Error& error, const hub::Cache& cache, const hub::Reference& reference,
                 const Shell& shell) {
    auto text = cli::printable(error.what);
    if (error.code == base::Code::cancelled) return complain(shell, text, cli::interrupted_exit);
    if (const auto earlier = cache.newest(reference))
        text += fmt::format("\n  an earlier pull is in {}", earlier->path);
    return complain(shell, text);
}

int pull(const PullFlags& flags, const Shell& shell) {
    // Both come back as errors of the call that caused them.
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN);
    const auto environment = hub::system_environment();
    const auto reference = hub::parse_reference(flags.model);
    if (!reference) return complain(shell, cli::printable(reference.error().what), usage_exit);
    const auto hub = hub::find_hub(environment, flags.kind, flags.token);
    if (!hub) return complain(shell, hub.error().what, usage_exit);
    const auto cache = hub::Cache::find(environment);
    if (!cache) return complain(shell, cache.error().what, usage_exit);

    const base::SystemClock clock;
    cli::Interrupt interrupt;
    Reporter reporter(shell.streams.error, clock);
    const hub::Watcher watcher{
        [&reporter](const hub::Progress& progress) { reporter.progress(progress); },
        [&reporter](const std::string& line) { reporter.say("holdfast: " + line); }};
    if (!hub->token.empty() && hub->endpoint.starts_with("http:"))
        watcher.say("warning: the token goes unencrypted to " + hub->endpoint);
    watcher.say(fmt::format("looking for {} at {}", reference->text(), hub->endpoint));
    const hub::PullOptions options{
        .reference = *reference, .to = flags.to, .include = flags.include, .jobs = flags.jobs};
    const auto done = hub::pull(*hub, options, *cache, hub::Stop(interrupt.fd()), watcher, clock);
    reporter.close();
    if (!done) return report_error(done.error(), *cache, *reference, shell);
    const auto& pulled = done->pulled;
    watcher.say(fmt::format("{} in {} files {}", hub::format_size(pulled.bytes),
                            pulled.manifest.files.size(),
                            done->was_there ? "were there already" : "pulled and checked"));
    cli::write_text(shell.streams.output,
                    fmt::format("{}\nnext: {}\n", pulled.path, serve_line(flags, pulled)));
    return 0;
}

}  // namespace

void add_pull(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("pull", "Get a model from a hub such as huggingface.co");
    auto flags = std::make_shared<PullFlags>();
    command
        ->add_option("MODEL", flags->model,
                     "ORG/NAME[@REVISION][:FILE]; FILE is a GGUF file or a part of its name, such "
                     "as Q4_K_M")
        ->type_name("")
        ->required();
    command->add_option("--to", flags->to, "a new folder to put it in, instead of the cache")
        ->type_name("DIR");
    command
        ->add_option("--include", flags->include,
                     "files to get, instead of what serving needs; repeatable")
        ->type_name("GLOB")
        ->type_size(1)
        ->allow_extra_args(false);
    command->add_option("--jobs", flags->jobs, "transfers at once [8]")
        ->type_name("N")
        ->check(CLI::Range(1, 64));
    command
        ->add_option("--token", flags->token,
                     "for models that need one; the variable HF_TOKEN hides it from the list of "
                     "processes")
        ->type_name("TOKEN");
    command
        ->add_option("--hub", flags->kind,
                     "how the hub is asked: huggingface or modelscope; by default its address "
                     "decides")
        ->type_name("KIND")
        ->check(CLI::IsMember({"huggingface", "modelscope"}));
    command->footer(
        "HF_ENDPOINT names another hub or mirror, such as https://modelscope.cn. What has come is\n"
        "kept when a pull ends early, however it ends: the same command goes on from there. Every\n"
        "file is checked against the checksum that the hub lists.\n\n"
        "Examples:\n"
        "  holdfast pull deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B\n"
        "  holdfast pull bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF:Q4_K_M\n"
        "  HF_ENDPOINT=https://modelscope.cn holdfast pull ORG/NAME --to /srv/models/r1");
    command->callback(
        [&shell, flags] { shell.chosen = [&shell, flags] { return pull(*flags, shell); }; });
}

}  // namespace holdfast::commands
