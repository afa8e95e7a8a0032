// For tests of readers: sound files, damaged as hostile or broken ones are.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <ranges>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace holdfast::base::testing {

// Gives variants of a sound file, each damaged in one place, in one way after the other: cut short,
// bits flipped, bytes replaced, parts doubled or missing, binary and written numbers that lie, JSON
// values of another type, and deep nesting. The same seed gives the same variants.
class Damage {
public:
    explicit Damage(std::string_view sound, std::uint32_t seed = 1)
        : sound_(sound), random_(seed) {}

    std::string next() {
        std::string file(sound_);
        const std::size_t at = below(file.size());
        switch (made_++ % 9) {
            case 0:
                file.resize(at);
                break;
            case 1:
                file[at] = static_cast<char>(file[at] ^ 1 << below(8));
                break;
            case 2:
                file[at] = pick(std::string_view("\"\\{}[],:-9\n\0\x7f\x80\xff", 15));
                break;
            case 3:
                file.insert(at, sound_.substr(at, 1 + below(64)));
                break;
            case 4:
                file.erase(at, 1 + below(64));
                break;
            case 5:
                lie_in_binary(file, at);
                break;
            case 6:
                lie_in_text(file, at);
                break;
            case 7:
                change_type(file, at);
                break;
            default:
                nest(file, at);
        }
        return file;
    }

private:
    std::size_t below(std::size_t count) { return random_() % count; }

    template <class List>
    std::ranges::range_value_t<List> pick(const List& list) {
        return list[below(std::size(list))];
    }

    // Most lengths, offsets and counts of binary formats are aligned to four bytes or follow text.
    void lie_in_binary(std::string& file, std::size_t at) {
        static constexpr std::uint64_t lies[] = {0,           1,           255,
                                                 65'536,      0x7fff'ffff, 1U << 31,
                                                 0xffff'ffff, 1ULL << 32,  (1ULL << 62) + 1,
                                                 1ULL << 63,  ~0ULL - 31,  ~0ULL};
        const std::uint64_t lie = pick(lies);
        if (below(2) == 0) at = at / 4 * 4;
        const std::size_t bytes = std::min<std::size_t>(below(2) == 0 ? 4 : 8, file.size() - at);
        for (std::size_t i = 0; i < bytes; ++i) file[at + i] = static_cast<char>(lie >> 8 * i);
    }

    void lie_in_text(std::string& file, std::size_t at) {
        static constexpr std::string_view lies[] = {"-1",
                                                    "0",
                                                    "0.5",
                                                    "1e999",
                                                    "1e-999",
                                                    "4294967296",
                                                    "9007199254740993",
                                                    "-9223372036854775809",
                                                    "18446744073709551615",
                                                    "99999999999999999999999999"};
        constexpr std::string_view digits = "0123456789";
        std::size_t begin = file.find_first_of(digits, at);
        if (begin == std::string::npos) begin = file.find_first_of(digits);
        if (begin == std::string::npos) begin = at;
        const std::size_t end = std::min(file.find_first_not_of(digits, begin), file.size());
        file.replace(begin, end - begin, pick(lies));
    }

    void change_type(std::string& file, std::size_t at) {
        static constexpr std::string_view others[] = {
            "null",       "true", "7", "\"text\"", "[]", "{}", "[[1]]", R"({"a":{"b":[]}})",
            "\"\\ud800\""};
        std::size_t colon = file.find(':', at);
        if (colon == std::string::npos) colon = file.find(':');
        const std::size_t begin = colon == std::string::npos ? at : colon + 1;
        const std::size_t end = std::min(file.find_first_of(",}]", begin), file.size());
        file.replace(begin, end - begin, pick(others));
    }

    void nest(std::string& file, std::size_t at) {
        const std::string_view opening = below(2) == 0 ? "[" : R"({"a":)";
        std::string deep;
        for (int depth = 0; depth < 5'000; ++depth) deep += opening;
        file.insert(at, deep);
    }

    std::string_view sound_;
    std::mt19937 random_;
    std::uint32_t made_ = 0;
};

inline constexpr int hostile_variants = 1'000;

// Reads `hostile_variants` of the sound file. Each must be refused with a reason that begins with
// `origin`, or else be usable: `read` uses what it accepted and returns a Result of anything.
template <class Read>
void expect_survives_damage(std::string_view sound, std::string_view origin, const Read& read) {
    ASSERT_TRUE(read(std::string(sound)));
    Damage damage(sound);
    int refused = 0;
    for (int i = 0; i < hostile_variants; ++i) {
        const auto result = read(damage.next());
        if (result) continue;
        ++refused;
        EXPECT_NE(result.error().what.find(origin), std::string::npos)
            << "variant " << i << ": " << result.error().what;
        EXPECT_NE(result.error().code, Code::internal)
            << "variant " << i << ": " << result.error().what;
    }
    // Damage that nobody notices is common in texts, never in most of the file.
    EXPECT_GT(refused, hostile_variants / 3);
}

}  // namespace holdfast::base::testing
