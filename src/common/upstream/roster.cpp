#include "common/upstream/roster.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::upstream {

namespace {

constexpr std::array<std::pair<std::string_view, ProcessState>, 4> states{
    {{"starting", ProcessState::starting},
     {"running", ProcessState::running},
     {"draining", ProcessState::draining},
     {"down", ProcessState::down}}};

// Takes the text up to `end` off the front.
std::string_view take_until(std::string_view& text, char end) {
    const std::string_view piece = text.substr(0, text.find(end));
    text.remove_prefix(std::min(text.size(), piece.size() + 1));
    return piece;
}

template <class Number>
base::Result<> read_number(std::string_view name, std::string_view text, Number& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc{} || end != text.data() + text.size() || out < 0) {
        return base::fail(base::Code::corrupt, "roster: {}={} is no number", name, text);
    }
    return {};
}

base::Result<> read_state(std::string_view text, std::optional<ProcessState>& out) {
    for (const auto& [name, state] : states) {
        if (name == text) out = state;
    }
    if (!out) return base::fail(base::Code::corrupt, "roster: unknown state {}", text);
    return {};
}

base::Result<RosterEntry> parse_line(std::string_view line) {
    RosterEntry entry;
    std::optional<ProcessState> state;
    while (!line.empty()) {
        constexpr std::string_view reason = "reason=";
        if (line.starts_with(reason)) {
            entry.reason = line.substr(reason.size());
            break;
        }
        std::string_view value = take_until(line, ' ');
        const std::string_view name = take_until(value, '=');
        if (name == "id") {
            entry.id = value;
        } else if (name == "pid") {
            HF_TRY(read_number(name, value, entry.pid));
        } else if (name == "restarts") {
            HF_TRY(read_number(name, value, entry.restarts));
        } else if (name == "state") {
            HF_TRY(read_state(value, state));
        } else if (name == "listen" && value != "-") {
            entry.listen = value;
        }
    }
    if (entry.id.empty() || !state) {
        return base::fail(base::Code::corrupt, "roster: a line lacks id or state");
    }
    entry.state = *state;
    return entry;
}

std::string_view word(ProcessState state) {
    const auto found = std::ranges::find(states, state, &decltype(states)::value_type::second);
    HF_ASSERT(found != states.end());
    return found->first;
}

}  // namespace

void append_roster_line(std::string& out, const RosterEntry& entry) {
    out +=
        fmt::format("id={} pid={} restarts={} state={} listen={}", entry.id, entry.pid,
                    entry.restarts, word(entry.state), entry.listen.empty() ? "-" : entry.listen);
    if (!entry.reason.empty()) out += " reason=" + entry.reason;
    out += '\n';
}

base::Result<std::vector<RosterEntry>> parse_roster(std::string_view packet) {
    std::vector<RosterEntry> entries;
    while (!packet.empty()) {
        const std::string_view line = take_until(packet, '\n');
        if (line.empty()) continue;
        HF_TRY_ASSIGN(RosterEntry entry, parse_line(line));
        const bool twice = std::ranges::any_of(
            entries, [&](const RosterEntry& other) { return other.id == entry.id; });
        if (twice) return base::fail(base::Code::corrupt, "roster: id {} comes twice", entry.id);
        if (entries.size() == roster_entries_max)
            return base::fail(base::Code::corrupt, "roster: more than {} instances",
                              roster_entries_max);
        entries.push_back(std::move(entry));
    }
    return entries;
}

}  // namespace holdfast::upstream
