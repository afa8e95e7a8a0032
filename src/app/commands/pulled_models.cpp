#include "app/commands/pulled_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "app/config/load.h"
#include "common/base/trim.h"
#include "tools/hub/cache.h"

namespace holdfast::commands {
namespace {

namespace fs = std::filesystem;

// The text that became `path` by being taken as relative to `base`, if it names a model at a hub.
std::optional<hub::Reference> reference_below(const std::string& path, const std::string& base) {
    if (!path.starts_with(base + "/")) return std::nullopt;
    const auto reference = hub::parse_reference(std::string_view(path).substr(base.size() + 1));
    return reference ? std::optional(*reference) : std::nullopt;
}

std::string current_folder() {
    std::error_code error;
    return fs::current_path(error).string();
}

}  // namespace

void use_pulled_models(config::Settings& settings,
                       const std::optional<std::string>& settings_file) {
    std::vector<std::string> bases{current_folder()};
    const char* const variable = std::getenv(config::config_variable);
    if (const auto file =
            settings_file.value_or(std::string(base::trimmed(variable == nullptr ? "" : variable)));
        !file.empty())
        bases.push_back(fs::absolute(file).lexically_normal().parent_path().string());
    for (config::Model& model : settings.workers.models) {
        std::error_code error;
        if (fs::exists(model.path, error)) continue;
        for (const std::string& base : bases) {
            const auto reference = reference_below(model.path, base);
            if (!reference) continue;
            const auto found = hub::find_pulled(hub::system_environment(), reference->text());
            if (!found) continue;
            // Clients ask for NAME, unless another model has that name or the user gave one.
            const auto name = reference->repo.substr(reference->repo.find('/') + 1);
            const bool is_default = model.name == config::default_model_name(model.path);
            const bool is_free =
                std::ranges::find(settings.workers.models, name, &config::Model::name) ==
                settings.workers.models.end();
            if (is_default && is_free) model.name = name;
            model.path = *found;
            break;
        }
    }
}

base::Result<std::string> find_model(const std::string& text) {
    std::error_code error;
    if (fs::exists(text, error)) return text;
    if (auto pulled = hub::find_pulled(hub::system_environment(), text)) return *std::move(pulled);
    const auto reference = hub::parse_reference(text);
    return base::fail(base::Code::not_found, "there is no model {}\n  next: {}", text,
                      reference ? fmt::format("check the path; `holdfast pull {0}` gets {0} from "
                                              "a hub",
                                              reference->text())
                                : "name a model's folder, a GGUF file or a pulled model");
}

std::string advice_on_missing(const std::string& path) {
    if (const auto reference = reference_below(path, current_folder()))
        return fmt::format("check --model; `holdfast pull {0}` gets {0} from a hub",
                           reference->text());
    return "check --model";
}

}  // namespace holdfast::commands
