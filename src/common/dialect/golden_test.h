// Reads the golden files of tests/golden/dialect and tests/golden/upstream (their READMEs describe
// the form), named as "dialect/answers.txt".
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace holdfast::dialect {

struct GoldenCase {
    std::string name, given, expected;
};

// "@3×ab@" becomes "ababab".
inline std::string expand_copies(std::string text) {
    constexpr std::string_view times = "×";
    for (std::size_t at = 0; (at = text.find('@', at)) != std::string::npos;) {
        const std::size_t middle = text.find(times, at);
        const std::size_t end = text.find('@', at + 1);
        if (middle == std::string::npos || end == std::string::npos) break;
        const int count = std::stoi(text.substr(at + 1, middle - at - 1));
        const std::string piece = text.substr(middle + times.size(), end - middle - times.size());
        std::string copies;
        for (int i = 0; i < count; ++i) copies += piece;
        text.replace(at, end + 1 - at, copies);
        at += copies.size();
    }
    return text;
}

inline std::vector<GoldenCase> read_golden(const std::string& name) {
    std::ifstream file(std::string(HOLDFAST_SOURCE_DIR "/tests/golden/") + name);
    std::stringstream whole;
    whole << file.rdbuf();
    std::string text = whole.str();
    EXPECT_FALSE(text.empty()) << name;
    std::vector<GoldenCase> cases;
    for (std::size_t at = 0; at < text.size();) {
        const std::string rest = text.substr(at, text.find("\n====\n", at) - at);
        at += rest.size() + 6;
        const std::size_t line = rest.find('\n');
        const std::size_t middle = rest.find("\n----\n", line);
        GoldenCase golden{rest.substr(0, line), rest.substr(line + 1, middle - line - 1),
                          rest.substr(middle + 6)};
        while (golden.expected.ends_with('\n')) golden.expected.pop_back();
        cases.push_back(std::move(golden));
    }
    return cases;
}

// With HOLDFAST_UPDATE_GOLDEN=1 in the environment a test writes what it found instead of comparing
// (read the difference before you commit it).
inline bool update_golden() { return std::getenv("HOLDFAST_UPDATE_GOLDEN") != nullptr; }

inline void write_golden(const std::string& name, const std::vector<GoldenCase>& cases) {
    std::ofstream file(std::string(HOLDFAST_SOURCE_DIR "/tests/golden/") + name);
    for (std::size_t i = 0; i < cases.size(); ++i) {
        if (i > 0) file << "====\n";
        file << cases[i].name << '\n' << cases[i].given << "\n----\n" << cases[i].expected << '\n';
    }
}

}  // namespace holdfast::dialect
