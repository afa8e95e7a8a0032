#include "inference/text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <span>

#include "common/base/assert.h"
#include "inference/text/utf8.h"

namespace holdfast::text {
namespace {

// Planes 3 and above are taken for not plain, which costs time for their rare characters only.
constexpr char32_t plain_end = 0x30000;
constexpr char32_t ascii_end = 0x80;

// The library takes this, the place before the first trailing consonant of Hangul, for a trailing
// consonant and swallows it. It composes with nothing, so it may keep its neighbours apart.
constexpr char32_t hangul_trailing_base = 0x11A7;

constexpr auto compose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

struct Decomposition {
    std::array<utf8proc_int32_t, 8> code_points{};
    std::size_t length = 0;
};

// Canonical decompositions have at most four code points.
Decomposition decompose(char32_t c) {
    Decomposition result;
    int boundary = 0;
    const utf8proc_ssize_t length =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), result.code_points.data(),
                                result.code_points.size(), compose, &boundary);
    HF_ASSERT(length > 0 && length <= static_cast<utf8proc_ssize_t>(result.code_points.size()));
    result.length = static_cast<std::size_t>(length);
    return result;
}

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// The canonical ordering algorithm (the Unicode Standard, D109). The library's own sorts by
// swapping neighbours, which takes quadratic time for a long run of marks.
void order_marks(std::span<utf8proc_int32_t> decomposed) {
    const auto is_starter = [](utf8proc_int32_t c) { return combining_class(c) == 0; };
    // Class, place and code point in one number, so that equal classes keep their order.
    constexpr int place_shift = 21, class_shift = 56;
    std::vector<std::uint64_t> keys;
    for (auto begin = decomposed.begin(); begin != decomposed.end();) {
        const auto end = std::find_if(begin, decomposed.end(), is_starter);
        keys.clear();
        for (auto mark = begin; mark != end; ++mark)
            keys.push_back(static_cast<std::uint64_t>(combining_class(*mark)) << class_shift |
                           static_cast<std::uint64_t>(keys.size()) << place_shift |
                           static_cast<std::uint64_t>(*mark));
        std::ranges::sort(keys);
        std::ranges::transform(keys, begin, [](std::uint64_t key) {
            return static_cast<utf8proc_int32_t>(key & ((1U << place_shift) - 1));
        });
        begin = std::find_if_not(end, decomposed.end(), is_starter);
    }
}

void append_composed(std::vector<utf8proc_int32_t>& decomposed, std::string& out) {
    order_marks(decomposed);
    const utf8proc_ssize_t length = utf8proc_normalize_utf32(
        decomposed.data(), static_cast<utf8proc_ssize_t>(decomposed.size()), compose);
    HF_ASSERT(length >= 0);
    for (utf8proc_ssize_t i = 0; i < length; ++i)
        append_utf8(out, static_cast<char32_t>(decomposed[static_cast<std::size_t>(i)]));
    decomposed.clear();
}

}  // namespace

Normalizer::Normalizer() : plain_(plain_end, true) {
    for (char32_t c = 0; c < plain_end; ++c) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;  // surrogates are no characters
        if (combining_class(static_cast<utf8proc_int32_t>(c)) != 0) plain_[c] = false;
        const Decomposition parts = decompose(c);
        // What comes second somewhere may compose with a character before it.
        for (std::size_t i = 1; i < parts.length; ++i)
            if (const auto second = static_cast<char32_t>(parts.code_points[i]); second < plain_end)
                plain_[second] = false;
        if (parts.length == 1 && static_cast<char32_t>(parts.code_points[0]) == c) continue;
        // Precomposed characters are normalised; those that are excluded from composition are not.
        std::vector<utf8proc_int32_t> decomposed(parts.code_points.begin(),
                                                 parts.code_points.begin() + parts.length);
        std::string composed, itself;
        append_composed(decomposed, composed);
        append_utf8(itself, c);
        if (composed != itself) plain_[c] = false;
    }
}

bool Normalizer::is_plain(std::string_view text) const {
    for (std::size_t at = 0; at < text.size();) {
        if (static_cast<std::uint8_t>(text[at]) < ascii_end) {
            ++at;
            continue;
        }
        const Utf8Character next = first_character(text.substr(at));
        if (next.state == Utf8::valid && (next.code_point >= plain_end || !plain_[next.code_point]))
            return false;
        at += next.length;
    }
    return true;
}

std::string_view Normalizer::normalize(std::string_view text, std::string& buffer) const {
    if (is_plain(text)) return text;
    buffer.clear();
    std::vector<utf8proc_int32_t> decomposed;
    for (std::size_t at = 0; at < text.size();) {
        const Utf8Character next = first_character(text.substr(at));
        if (next.state == Utf8::valid && next.code_point != hangul_trailing_base) {
            const Decomposition parts = decompose(next.code_point);
            decomposed.insert(decomposed.end(), parts.code_points.begin(),
                              parts.code_points.begin() + parts.length);
        } else {
            append_composed(decomposed, buffer);
            buffer += text.substr(at, next.length);
        }
        at += next.length;
    }
    append_composed(decomposed, buffer);
    return buffer;
}

}  // namespace holdfast::text
