// Which files of a repository are wanted.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "common/base/suggest.h"
#include "tools/hub/listing.h"

namespace holdfast::hub {
namespace {

using base::Code;
using base::fail;
using Files = std::vector<RemoteFile>;

constexpr std::size_t selected_files_max = 10'000;

bool matches(const std::string& glob, const std::string& path) {
    return ::fnmatch(glob.c_str(), path.c_str(), 0) == 0;
}

bool is_for_serving(const RemoteFile& file) {
    static const std::vector<std::string> globs{"config.json",     "generation_config.json",
                                                "tokenizer*.json", "chat_template.jinja",
                                                "*.safetensors",   "*.safetensors.index.json"};
    // A second copy of the weights that some repositories carry.
    if (file.path.starts_with("consolidated")) return false;
    return file.path.find('/') == std::string::npos &&
           std::ranges::any_of(globs, [&](const auto& glob) { return matches(glob, file.path); });
}

// "NAME-00002-of-00005.gguf": the first part's name before the number, and how many there are.
struct Split {
    std::string stem;
    unsigned count = 0;
};
Split split_of(std::string_view path) {
    constexpr std::string_view form = "-00001-of-00005.gguf";
    if (path.size() <= form.size()) return {};
    const auto tail = path.substr(path.size() - form.size());
    const auto digits = [&](std::size_t at) {
        return tail.substr(at, 5).find_first_not_of("0123456789") == tail.npos;
    };
    const bool is_split = tail[0] == '-' && digits(1) && tail.substr(6, 4) == "-of-" &&
                          digits(10) && tail.ends_with(".gguf");
    if (!is_split) return {};
    Split split{.stem = std::string(path.substr(0, path.size() - form.size()))};
    std::from_chars(tail.data() + 10, tail.data() + 15, split.count);
    return split;
}

// GGUF files by the name that stands for all parts: that of the first.
std::map<std::string, Files> models_in(const Files& files) {
    std::map<std::string, Files> models;
    for (const RemoteFile& file : files) {
        if (!lower_case(file.path).ends_with(".gguf")) continue;
        const auto split = split_of(file.path);
        const auto first = split.count == 0
                               ? file.path
                               : fmt::format("{}-00001-of-{:05}.gguf", split.stem, split.count);
        models[first].push_back(file);
    }
    return models;
}

std::vector<std::string> names_of(const std::map<std::string, Files>& models) {
    constexpr std::size_t shown_max = 40;
    std::vector<std::string> names;
    for (const auto& [name, parts] : models)
        if (names.size() < shown_max) names.push_back(name);
    return names;
}

base::Result<Files> whole_model(const std::string& first, const Files& parts) {
    const auto split = split_of(first);
    if (split.count == 0 || parts.size() == split.count) return parts;
    return fail(Code::not_found, "{} has {} parts, and only {} of them are there", first,
                split.count, parts.size());
}

base::Result<Files> select_file(const Files& files, const std::string& wanted) {
    const auto models = models_in(files);
    std::vector<std::string> naming, containing;
    for (const auto& [first, parts] : models) {
        if (std::ranges::find(parts, wanted, &RemoteFile::path) != parts.end())
            return whole_model(first, parts);
        if (has_word(first, wanted)) naming.push_back(first);
        if (lower_case(first).contains(lower_case(wanted))) containing.push_back(first);
    }
    const auto exact = std::ranges::find(files, wanted, &RemoteFile::path);
    if (exact != files.end()) return Files{*exact};
    if (!naming.empty()) containing = std::move(naming);
    if (containing.size() == 1) return whole_model(containing[0], models.at(containing[0]));
    if (containing.size() > 1)
        return fail(Code::not_found, "\"{}\" could be {}\n  next: name one of them", wanted,
                    fmt::join(containing, " or "));
    std::vector<std::string> paths;
    for (const RemoteFile& file : files) paths.push_back(file.path);
    const auto hint =
        models.empty() ? std::string()
                       : fmt::format("\n  next: name one of {}", fmt::join(names_of(models), ", "));
    return fail(Code::not_found, "the repository has no file \"{}\"{}{}", wanted,
                base::suggestion(wanted, paths), hint);
}

base::Result<Files> select_folder(const Files& files) {
    Files chosen;
    std::ranges::copy_if(files, std::back_inserter(chosen), is_for_serving);
    const auto ends = [](const Files& all, std::string_view end) {
        return std::ranges::any_of(all, [&](const auto& file) { return file.path.ends_with(end); });
    };
    const bool has_weights = ends(chosen, ".safetensors");
    const bool has_config =
        std::ranges::find(chosen, "config.json", &RemoteFile::path) != chosen.end();
    if (has_weights && has_config) return chosen;
    if (const auto models = models_in(files); !models.empty())
        return fail(Code::not_found,
                    "the repository has GGUF files and no safetensors folder\n  next: name one "
                    "behind a colon: {}",
                    fmt::join(names_of(models), ", "));
    if (ends(files, ".bin") || ends(files, ".pth"))
        return fail(Code::not_found,
                    "the repository has its weights as .bin or .pth only, which can carry code and "
                    "are not served\n  next: look for a revision or a repository with safetensors");
    return fail(Code::not_found,
                "the repository has no {} in its top folder: it is no model to "
                "serve\n  next: name the files with --include GLOB if you want them nevertheless",
                has_weights ? "config.json" : "*.safetensors");
}

}  // namespace

std::string lower_case(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return out;
}

bool has_word(std::string_view path, std::string_view word) {
    const std::string in = lower_case(path), wanted = lower_case(word);
    const auto is_part = [&](std::size_t at) {
        return at < in.size() && (in[at] == '_' || (in[at] >= '0' && in[at] <= '9') ||
                                  (in[at] >= 'a' && in[at] <= 'z'));
    };
    if (wanted.empty()) return false;
    for (auto at = in.find(wanted); at != in.npos; at = in.find(wanted, at + 1))
        if (!is_part(at - 1) && !is_part(at + wanted.size())) return true;
    return false;
}

base::Result<Files> select_files(const Files& files, const std::string& file,
                                 const std::vector<std::string>& globs) {
    Files chosen;
    if (!globs.empty()) {
        std::ranges::copy_if(files, std::back_inserter(chosen), [&](const RemoteFile& one) {
            return std::ranges::any_of(globs,
                                       [&](const auto& glob) { return matches(glob, one.path); });
        });
        if (chosen.empty())
            return fail(Code::not_found, "none of the {} files matches {}", files.size(),
                        fmt::join(globs, " or "));
    } else {
        auto selected = file.empty() ? select_folder(files) : select_file(files, file);
        if (!selected) return selected;
        chosen = *std::move(selected);
    }
    if (chosen.size() > selected_files_max)
        return fail(Code::invalid, "{} files are more than the {} that are pulled at once",
                    chosen.size(), selected_files_max);
    std::ranges::sort(chosen, {}, &RemoteFile::path);
    const auto twin = std::ranges::adjacent_find(chosen, {}, &RemoteFile::path);
    if (twin != chosen.end()) return fail(Code::corrupt, "the hub lists {} twice", twin->path);
    return chosen;
}

}  // namespace holdfast::hub
