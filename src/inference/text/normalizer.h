// Unicode normalisation form C, in linear-logarithmic time for every text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::text {

// Immutable after construction; any thread may call.
class Normalizer {
public:
    Normalizer();
    // NFC of `text`: `text` itself where it is plainly normalised already, else written to
    // `buffer`. Bytes that are not UTF-8 stay as they are and keep their neighbours apart.
    std::string_view normalize(std::string_view text, std::string& buffer) const;

private:
    bool is_plain(std::string_view text) const;

    // Code points that stand for themselves whatever their neighbours are. Text of these alone is
    // normalised.
    std::vector<bool> plain_;
};

}  // namespace holdfast::text
