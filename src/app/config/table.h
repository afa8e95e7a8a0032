// The table of settings: each is described once, and reading YAML, environment and flags, the help
// texts, the printed configuration and the documentation all come from here. To add a setting, add
// its member to settings.h and its line to table.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "app/config/settings.h"
#include "common/base/error.h"

namespace holdfast::config {

// The member that a setting fills; its type decides how the text is read.
using Member =
    std::variant<std::string& (*)(Settings&), std::uint32_t& (*)(Settings&),
                 std::uint64_t& (*)(Settings&), double& (*)(Settings&), bool& (*)(Settings&),
                 std::chrono::milliseconds& (*)(Settings&), std::vector<Model>& (*)(Settings&),
                 std::vector<External>& (*)(Settings&)>;

// Further rules for a text.
enum class Form { plain, address, path, cores };

// Commands that offer a setting's flag.
enum Commands : unsigned { no_command = 0, serve = 1, gateway = 2, worker = 4 };

struct Setting {
    std::string_view name;  // "gateway.listen"
    Member member;
    std::string_view default_text;           // "auto": found out by load()
    std::string_view help;                   // one sentence
    std::string_view least = {}, most = {};  // limits, as the value is written; empty: none
    std::string_view choices = {};           // "a|b|c"; empty: any
    Form form = Form::plain;
    std::string_view flag = {};  // "--listen"; every setting can be given by --set as well
    unsigned flag_commands = no_command;
    std::string_view flag_value = {};  // "HOST:PORT", for help
};

std::span<const Setting> table();
const Setting* find(std::string_view name);
std::span<const std::string> names();

// HOLDFAST_GATEWAY_LISTEN for gateway.listen.
std::string environment_name(const Setting& setting);
bool is_list(const Setting& setting);
bool can_be_automatic(const Setting& setting);
// "duration", "size", ...: for help.
std::string_view type_name(const Setting& setting);

// Reads one value, or one element of a list (which is appended), into `settings`. Errors are one
// clause that fits behind "NAME: ".
base::Result<> assign(const Setting& setting, Settings& settings, std::string_view text);
void clear_list(const Setting& setting, Settings& settings);

// The value as assign() reads it: one text, or one for each element of a list.
std::vector<std::string> format(const Setting& setting, const Settings& settings);

}  // namespace holdfast::config
