// The pre-tokenizer of the Qwen2 and Llama 3 families: text to words, which merges never cross.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace holdfast::text {

// Does by hand what this regular expression does, `{1,digits_max}` being its only difference
// between the families:
//
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
//   |\s*[\r\n]+|\s+(?!\S)|\s+
//
// Every character is part of some word. Bytes that are not UTF-8 count as symbols. Linear time.
class WordSplitter {
public:
    static WordSplitter qwen2() { return WordSplitter(1); }
    static WordSplitter llama3() { return WordSplitter(3); }
    // Nothing for a pattern that is not one of the known two.
    static std::optional<WordSplitter> for_pattern(std::string_view pattern);

    // Length in bytes of the first word of `text`, which must not be empty. The text's end counts
    // as the end of the whole text.
    std::size_t first_word(std::string_view text) const;

private:
    explicit WordSplitter(std::size_t digits_max) : digits_max_(digits_max) {}
    std::size_t digits_max_;
};

}  // namespace holdfast::text
