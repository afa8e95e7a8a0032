// What a source says before it is understood: the common form of file, environment and flags.
#pragma once

#include <string>
#include <vector>

#include "app/config/load.h"
#include "app/config/setting.h"

namespace holdfast::config {

struct Element {
    std::string text;
    std::string where;  // "holdfast.yaml:3:5", "HOLDFAST_LOG_LEVEL", "--listen"
};

struct Written {
    const Setting* setting = nullptr;
    std::vector<Element> elements;  // exactly one unless the setting is a list
    std::string where;
};

// Everything that is wrong, so that it can be mended in one go. Bounded: one line stands for the
// rest.
class Problems {
public:
    void add(std::string line);
    bool empty() const { return lines_.empty(); }
    // All lines in order, joined.
    std::string text() const;

private:
    std::vector<std::string> lines_;
    std::size_t more_ = 0;
};

// What they say about settings; words that are none go to `problems`. Lists are written with ';'.
std::vector<Written> read_environment(const Environment& environment, Problems& problems);
std::vector<Written> read_flags(const std::vector<Flag>& flags, Problems& problems);

}  // namespace holdfast::config
