#include "app/config/load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "app/config/table.h"
#include "app/config/values.h"
#include "app/config/written.h"
#include "app/config/yaml.h"
#include "common/base/trim.h"
#include "common/cores/placement.h"

namespace holdfast::config {
namespace {

using base::Code;
using base::fail;

// Applies sources in order and remembers for each setting where its value came from.
class Merger {
public:
    Merger(const World& world, bool one_worker)
        : world_(world), one_worker_(one_worker), sources_(table().size(), "default") {
        for (const Setting& setting : table())
            if (setting.automatic) clear(setting, settings_);
    }

    // Relative paths are relative to `folder`.
    void apply(const std::vector<Written>& all, const std::string& folder) {
        for (const Written& written : all) apply(written, folder);
    }

    Loaded finish() {
        resolve();
        check_together();
        return Loaded{std::move(settings_), std::move(sources_)};
    }

    Problems problems;

private:
    std::size_t row(std::string_view name) const {
        return static_cast<std::size_t>(find(name) - table().data());
    }
    bool is_automatic(std::string_view name) const { return !given_.contains(name); }

    void apply(const Written& written, const std::string& folder) {
        const Setting& setting = *written.setting;
        sources_[row(setting.name)] = written.where;
        if (is_list(setting)) clear(setting, settings_);
        bool is_given = true;
        for (const Element& element : written.elements) {
            const auto assigned = assign(setting, settings_, element.text);
            if (!assigned)
                problems.add(
                    fmt::format("{}: {} {}", element.where, setting.name, assigned.error().what));
            is_given = !assigned || !setting.automatic || !is_clear(setting, settings_);
        }
        if (is_given) {
            given_.insert(setting.name);
        } else {
            given_.erase(setting.name);
        }
        if (setting.name == "state_dir")
            settings_.state_dir = absolute(settings_.state_dir, folder);
        if (setting.name == "worker.template" && is_file(settings_.worker.chat_template))
            settings_.worker.chat_template = absolute(settings_.worker.chat_template, folder);
        if (setting.name == "worker.models")
            for (Model& model : settings_.workers.models) complete(model, folder);
    }

    // Other templates have names, which the program that loads the model knows.
    static bool is_file(std::string_view chat_template) {
        return chat_template.contains('/') || chat_template.ends_with(".json");
    }

    static std::string absolute(const std::string& path, const std::string& folder) {
        const auto whole = (std::filesystem::path(folder) / path).lexically_normal().string();
        return whole.size() > 1 && whole.ends_with('/') ? whole.substr(0, whole.size() - 1) : whole;
    }

    static void complete(Model& model, const std::string& folder) {
        model.path = absolute(model.path, folder);
        if (model.name.empty()) model.name = default_model_name(model.path);
    }

    std::string variable(std::string_view name) const {
        const auto found = std::ranges::find(world_.environment, name,
                                             &std::pair<std::string, std::string>::first);
        return found == world_.environment.end() ? std::string() : found->second;
    }

    void resolve() {
        if (is_automatic("state_dir")) settings_.state_dir = default_state_dir();
        if (is_automatic("worker.models") && settings_.gateway.targets.empty())
            find_bundled_model();
        if (is_automatic("worker.threads"))
            settings_.worker.threads = within("worker.threads", threads_of_one_worker());
        if (is_automatic("gateway.threads"))
            settings_.gateway.loops = within("gateway.threads", world_.machine.threads());
        name_targets();
    }

    // What is found out stays in the limits of what can be written, so that it can be passed on.
    static std::uint32_t within(std::string_view name, std::uint32_t value) {
        return std::min(value, static_cast<std::uint32_t>(*parse_integer(find(name)->most)));
    }

    // As many as its share of the cores has room for. A choice that is wrong is refused elsewhere.
    std::uint32_t threads_of_one_worker() const {
        auto choice = cores::parse_choice(settings_.workers.cores);
        if (!choice) return 1;
        const auto models = std::max<std::size_t>(1, settings_.workers.models.size());
        const bool one = one_worker_ && !given_.contains("worker.instances");
        const std::size_t processes = one ? models : models * settings_.workers.instances;
        if (!choice->share && processes > 1)
            choice->share = {.count = static_cast<std::uint32_t>(processes)};
        return cores::threads_of(*choice, world_.machine).value_or(1);
    }

    // The XDG base directory specification ignores relative paths in its variables.
    std::string default_state_dir() const {
        const auto state = variable("XDG_STATE_HOME");
        if (state.starts_with('/')) return state + "/holdfast";
        const auto home = variable("HOME");
        if (home.starts_with('/') && home != "/") return home + "/.local/state/holdfast";
        return "/var/lib/holdfast";
    }

    void find_bundled_model() {
        const std::array candidates{world_.executable_folder + "/../models/tiny-r1",
                                    world_.current_folder + "/models/tiny-r1",
                                    std::string("/usr/share/holdfast/models/tiny-r1")};
        for (const std::string& candidate : candidates) {
            if (!world_.is_folder(candidate)) continue;
            settings_.workers.models = {Model{absolute(candidate, "/"), "tiny-r1"}};
            return;
        }
    }

    void name_targets() {
        std::set<std::string> taken;
        for (const fleet::Target& target : settings_.gateway.targets) taken.insert(target.id);
        int number = 0;
        for (fleet::Target& target : settings_.gateway.targets) {
            while (target.id.empty()) {
                auto name = fmt::format("x{}", ++number);
                if (taken.insert(name).second) target.id = std::move(name);
            }
        }
    }

    // Rules that join several settings.
    void check_together() {
        const Settings& s = settings_;
        std::set<std::string> seen;
        for (const Model& model : s.workers.models)
            if (!seen.insert(model.name).second)
                problem("worker.models",
                        fmt::format("has two models named \"{}\"; name one of them "
                                    "with PATH=NAME",
                                    model.name));
        seen.clear();
        for (const fleet::Target& target : s.gateway.targets)
            if (!seen.insert(target.id).second)
                problem("external", fmt::format("has two instances named \"{}\"", target.id));
        constexpr std::size_t processes_max = 256;
        if (s.workers.models.size() * s.workers.instances > processes_max)
            problem("worker.instances",
                    fmt::format("times the number of models must be at most {}", processes_max));
        if (s.keeper.limits.backoff_first > s.keeper.limits.backoff_max)
            problem("keeper.backoff_first", "must not be longer than keeper.backoff_max");
        if (s.gateway.timeouts.connect > s.gateway.timeouts.total)
            problem("timeouts.connect", "must not be longer than timeouts.total");
        if (s.worker.engine.prefill_tokens_max > s.worker.batch_tokens_max)
            problem("engine.prefill_tokens_max", "must not exceed engine.batch_tokens_max");
    }

    void problem(std::string_view name, std::string_view text) {
        problems.add(fmt::format("{}: {} {}", sources_[row(name)], name, text));
    }

    const World& world_;
    bool one_worker_;
    Settings settings_;
    std::vector<std::string> sources_;
    std::set<std::string_view> given_;
};

base::Result<std::string> read_regular_file(const std::string& path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) return fail(Code::not_found, "it is a folder");
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(Code::not_found, "{}", std::strerror(errno));
    // One byte more than the reader takes, so that it sees that there is more.
    std::string text(1024 * 1024 + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    return text;
}

}  // namespace

World system_world() {
    World world;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const auto equals = text.find('=');
        if (equals != text.npos)
            world.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
    std::error_code error;  // a folder that was deleted leaves an empty text
    world.current_folder = std::filesystem::current_path(error).string();
    world.executable_folder =
        std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
    world.machine = cores::this_machine();
    world.is_folder = [](const std::string& path) {
        std::error_code ignored;
        return std::filesystem::is_directory(path, ignored);
    };
    world.read_file = read_regular_file;
    return world;
}

base::Result<Loaded> load(const Sources& sources, const World& world) {
    Merger merger(world, sources.one_worker);
    if (!sources.isolated) {
        auto file = sources.file;
        for (const auto& [name, value] : world.environment)
            if (const auto path = base::trimmed(value);
                !file && name == config_variable && !path.empty())
                file = path;
        if (file) {
            const auto text = world.read_file(*file);
            if (!text)
                return fail(Code::not_found, "{}: cannot be read: {}", *file, text.error().what);
            const auto folder = std::filesystem::path(world.current_folder) /
                                std::filesystem::path(*file).parent_path();
            merger.apply(read_yaml(*file, *text, merger.problems), folder.string());
        }
        merger.apply(read_environment(world.environment, merger.problems), world.current_folder);
    }
    merger.apply(read_flags(sources.flags, merger.problems), world.current_folder);
    Loaded loaded = merger.finish();
    if (!merger.problems.empty())
        return std::unexpected(base::Error{.code = Code::invalid, .what = merger.problems.text()});
    return loaded;
}

std::vector<std::string> to_flags(const Settings& settings) {
    std::vector<std::string> out{"--isolated"};
    for (const Setting& setting : table()) {
        const auto texts = format(setting, settings);
        const bool is_default = !is_list(setting) && texts[0] == default_text(setting);
        if (is_default) continue;
        // An empty list is said as well: left out, it would be filled by the default.
        if (texts.empty() && setting.automatic) {
            out.insert(out.end(), {"--set", fmt::format("{}=", setting.name)});
        }
        for (const std::string& text : texts)
            out.insert(out.end(), {"--set", fmt::format("{}={}", setting.name, text)});
    }
    return out;
}

}  // namespace holdfast::config
