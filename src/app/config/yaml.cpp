#include "app/config/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <map>

#include "app/config/table.h"
#include "common/base/suggest.h"

namespace holdfast::config {
namespace {

constexpr std::size_t file_bytes_max = 1024 * 1024;

std::string_view shape(const YAML::Node& node) {
    switch (node.Type()) {
        case YAML::NodeType::Sequence:
            return "a list";
        case YAML::NodeType::Map:
            return "a map";
        case YAML::NodeType::Scalar:
            return "a value";
        default:
            return "nothing";
    }
}

// Settings and sections: all that a key can be.
std::vector<std::string> keys() {
    const std::span<const std::string> settings = names();
    std::vector<std::string> all(settings.begin(), settings.end());
    for (const std::string& name : settings) {
        std::string section = name.substr(0, name.find('.'));
        if (section != name && all.back() != section) all.push_back(std::move(section));
    }
    return all;
}

bool is_section(std::string_view name) {
    const auto prefix = fmt::format("{}.", name);
    for (const Setting& setting : table())
        if (setting.name.starts_with(prefix)) return true;
    return false;
}

// Walks the document along the table. Every step down is a section or an element of a list, so
// the walk is at most three deep.
class Reader {
public:
    Reader(std::string_view file, Problems& problems) : file_(file), problems_(problems) {}

    std::vector<Written> read(const YAML::Node& root) {
        if (root.IsNull()) return {};
        if (!root.IsMap()) {
            problem(root.Mark(), fmt::format("must be a map of settings, not {}", shape(root)));
            return {};
        }
        read_section("", root);
        return std::move(written_);
    }

private:
    std::string place(const YAML::Mark& mark) const {
        return mark.is_null() ? file_
                              : fmt::format("{}:{}:{}", file_, mark.line + 1, mark.column + 1);
    }
    void problem(const YAML::Mark& mark, std::string_view text) {
        problems_.add(fmt::format("{}: {}", place(mark), text));
    }

    // True the first time that `name` is seen.
    bool first(const std::string& name, const YAML::Mark& mark) {
        const auto [seen, is_new] = seen_.try_emplace(name, mark.line + 1);
        if (!is_new)
            problem(mark,
                    fmt::format("duplicate key \"{}\", first in line {}", name, seen->second));
        return is_new;
    }

    void read_section(const std::string& prefix, const YAML::Node& section) {
        for (const auto& pair : section) {
            if (!pair.first.IsScalar()) {
                problem(pair.first.Mark(), "a key must be a plain word");
                continue;
            }
            const std::string name = prefix + pair.first.Scalar();
            const YAML::Mark mark = pair.first.Mark();
            if (const Setting* setting = find(name)) {
                if (first(name, mark)) read_setting(*setting, mark, pair.second);
            } else if (is_section(name)) {
                if (!first(name, mark) || pair.second.IsNull()) continue;
                if (pair.second.IsMap()) {
                    read_section(name + ".", pair.second);
                } else {
                    problem(pair.second.Mark(), fmt::format("{} must be a map of settings, not {}",
                                                            name, shape(pair.second)));
                }
            } else {
                problem(mark, fmt::format("unknown key \"{}\"{}", name.substr(0, 100),
                                          base::suggestion(name, keys())));
            }
        }
    }

    void read_setting(const Setting& setting, const YAML::Mark& mark, const YAML::Node& value) {
        Written out{.setting = &setting, .elements = {}, .where = place(mark)};
        if (is_list(setting) && value.IsSequence()) {
            for (const auto& element : value) read_element(setting, element, out);
        } else if (value.IsScalar()) {
            out.elements.push_back({value.Scalar(), place(value.Mark())});
        } else {
            problem(value.IsNull() ? mark : value.Mark(),
                    fmt::format("{} must be a {}, not {}", setting.name, type_name(setting),
                                shape(value)));
            return;
        }
        written_.push_back(std::move(out));
    }

    void read_element(const Setting& setting, const YAML::Node& element, Written& out) {
        if (element.IsScalar()) {
            out.elements.push_back({element.Scalar(), place(element.Mark())});
        } else if (element.IsMap()) {
            read_map_element(setting, element, out);
        } else {
            problem(element.Mark(), fmt::format("an element of {} must be a text or a map, not {}",
                                                setting.name, shape(element)));
        }
    }

    // {path: PATH, name: NAME} and {url: URL, kind: …} are the long forms of PATH=NAME and
    // URL,kind=…; the short form goes on from here.
    void read_map_element(const Setting& setting, const YAML::Node& map, Written& out) {
        static const std::array<std::string, 2> model_keys{"path", "name"};
        static const std::array<std::string, 5> target_keys{"url", "kind", "model", "name",
                                                            "weight"};
        const bool is_model =
            std::holds_alternative<std::vector<Model>& (*)(Settings&)>(setting.member);
        const std::span<const std::string> keys =
            is_model ? std::span<const std::string>(model_keys) : target_keys;
        std::map<std::string, std::string> values;
        for (const auto& pair : map) {
            const std::string key = pair.first.IsScalar() ? pair.first.Scalar() : std::string();
            if (std::ranges::find(keys, key) == keys.end()) {
                problem(pair.first.Mark(),
                        fmt::format("unknown key \"{}\" in an element of {}{}", key.substr(0, 100),
                                    setting.name, base::suggestion(key, keys)));
                return;
            }
            if (!pair.second.IsScalar() || pair.second.Scalar().find(',') != std::string::npos) {
                problem(pair.second.Mark(), fmt::format("{} must be a text without commas", key));
                return;
            }
            if (!values.try_emplace(key, pair.second.Scalar()).second) {
                problem(pair.first.Mark(), fmt::format("duplicate key \"{}\"", key));
                return;
            }
        }
        if (!values.contains(keys[0])) {
            problem(map.Mark(),
                    fmt::format("an element of {} needs the key \"{}\"", setting.name, keys[0]));
            return;
        }
        std::string text = values[keys[0]];
        for (const std::string& key : keys.subspan(1)) {
            if (!values.contains(key)) continue;
            text += is_model ? "=" + values[key] : fmt::format(",{}={}", key, values[key]);
        }
        out.elements.push_back({std::move(text), place(map.Mark())});
    }

    std::string file_;
    Problems& problems_;
    std::map<std::string, int> seen_;
    std::vector<Written> written_;
};

}  // namespace

std::vector<Written> read_yaml(std::string_view file, const std::string& text, Problems& problems) {
    if (text.size() > file_bytes_max) {
        problems.add(fmt::format("{}: is larger than {} bytes", file, file_bytes_max));
        return {};
    }
    try {
        const std::vector<YAML::Node> documents = YAML::LoadAll(text);
        if (documents.empty()) return {};
        if (documents.size() > 1) {
            const auto mark = documents[1].Mark();
            problems.add(fmt::format("{}:{}:{}: a second document begins here; one is allowed",
                                     file, mark.line + 1, mark.column + 1));
            return {};
        }
        return Reader(file, problems).read(documents[0]);
    } catch (const YAML::Exception& error) {
        problems.add(fmt::format("{}:{}:{}: {}", file, error.mark.line + 1, error.mark.column + 1,
                                 error.msg));
    } catch (const std::exception& error) {
        problems.add(fmt::format("{}: cannot be read: {}", file, error.what()));
    }
    return {};
}

}  // namespace holdfast::config
