#include "common/chat/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace holdfast::chat {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
    for (std::string& stop : stops)
        if (!stop.empty()) stops_.push_back(prepare(std::move(stop)));
}

StopMatcher::Stop StopMatcher::prepare(std::string text) {
    Stop stop{.text = std::move(text), .border = {0}, .matched = 0};
    for (std::size_t i = 1; i < stop.text.size(); ++i) {
        advance(stop, stop.text[i]);
        stop.border.push_back(stop.matched);
    }
    stop.matched = 0;
    return stop;
}

void StopMatcher::advance(Stop& stop, char byte) {
    while (stop.matched > 0 && stop.text[stop.matched] != byte)
        stop.matched = stop.border[stop.matched - 1];
    if (stop.text[stop.matched] == byte) ++stop.matched;
}

StopMatcher::Output StopMatcher::feed(std::string_view text) {
    if (stopped_) return {{}, true};
    std::size_t held = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        std::size_t found = 0;
        held = 0;
        for (Stop& stop : stops_) {
            advance(stop, text[i]);
            held = std::max(held, stop.matched);
            if (stop.matched == stop.text.size()) found = std::max(found, stop.matched);
        }
        if (found == 0) continue;
        stopped_ = true;
        pending_ += text.substr(0, i + 1);
        pending_.resize(pending_.size() - found);
        return {std::exchange(pending_, {}), true};
    }
    if (text.empty()) return {};
    pending_ += text;
    Output output{pending_.substr(0, pending_.size() - held)};
    pending_.erase(0, output.text.size());
    return output;
}

std::string StopMatcher::flush() {
    for (Stop& stop : stops_) stop.matched = 0;
    return std::exchange(pending_, {});
}

}  // namespace holdfast::chat
