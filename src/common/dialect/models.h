// OpenAI's list of models, as gateway and worker show it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::dialect {

struct ModelCard {
    std::string_view id;
    std::int64_t created = 0;           // seconds since 1970
    std::uint32_t context = 0;          // most tokens of prompt and answer; 0: not known
    std::string_view fingerprint = {};  // of a worker; empty: not told
};

std::string render_model(const ModelCard& card);
std::string render_models(std::span<const ModelCard> cards);

}  // namespace holdfast::dialect
