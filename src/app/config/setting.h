// One setting as the table describes it: how its value is read, checked and printed.
#pragma once

#include <cstdint>
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
                 std::chrono::milliseconds& (*)(Settings&),
                 spdlog::level::level_enum& (*)(Settings&), std::vector<Model>& (*)(Settings&),
                 std::vector<fleet::Target>& (*)(Settings&)>;

// What a text must be, by the room that takes it.
struct Form {
    std::string_view name;                                // "address", for help
    base::Result<> (*check)(std::string_view) = nullptr;  // errors fit behind "NAME "
    std::string (*known)() = nullptr;                     // what it may be, for people
};

// Commands that offer a setting's flag.
enum Commands : unsigned { no_command = 0, serve = 1, gateway = 2, worker = 4 };

struct Setting {
    std::string_view name;  // "gateway.listen"
    Member member;
    std::string_view help;                   // one sentence
    std::string_view least = {}, most = {};  // limits, as the value is written; empty: none
    std::string_view choices = {};           // "a|b|c"; empty: any
    // May be "auto", which stands for the member's zero or emptiness: load(), or who uses it, finds
    // the value out. That is then the default.
    bool automatic = false;
    Form form = {.name = "text"};
    std::string_view flag = {};  // "--listen"; every setting can be given by --set as well
    unsigned flag_commands = no_command;
    std::string_view flag_value = {};  // "HOST:PORT", for help
};

inline constexpr std::string_view automatic_text = "auto";

// HOLDFAST_GATEWAY_LISTEN for gateway.listen.
std::string environment_name(const Setting& setting);
bool is_list(const Setting& setting);
// "duration", "size", ...: for help.
std::string_view type_name(const Setting& setting);
// What the rooms do where nothing is set, as assign() reads it; empty for a list that is empty.
std::string default_text(const Setting& setting);

// Reads one value, or one element of a list (which is appended), into `settings`. Errors are one
// clause that fits behind "NAME ". White space around the text is none of it.
base::Result<> assign(const Setting& setting, Settings& settings, std::string_view text);
// Makes it empty or zero: what "auto" stands for, or a list without elements.
void clear(const Setting& setting, Settings& settings);
// True if the member is empty or zero.
bool is_clear(const Setting& setting, const Settings& settings);

// The value as assign() reads it: one text, or one for each element of a list.
std::vector<std::string> format(const Setting& setting, const Settings& settings);

}  // namespace holdfast::config
