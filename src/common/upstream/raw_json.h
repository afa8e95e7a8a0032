// What the forms of raw answers share in writing requests and reading events.
#pragma once

#include <simdjson.h>

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/json/writer.h"
#include "common/upstream/limits.h"
#include "common/upstream/raw.h"

namespace holdfast::upstream::raw_json {

std::unexpected<base::Error> corrupt(std::string_view what);
// The server ended the answer for reasons of its own.
std::unexpected<base::Error> gave_up();

void write_messages(json::Writer& json, std::span<const chat::Message> messages);
// About, for setting memory aside.
std::size_t body_bytes(const RawAsk& ask);
// What is left of max_tokens, at least 1; nothing where only the context is the limit and the
// server knows it.
std::optional<std::uint32_t> tokens_left(const RawAsk& ask);
// The request's seed; for a continuation another one that follows from it, so that random numbers
// that were used are not used again.
std::optional<std::uint64_t> seed(const RawAsk& ask);

// One event's JSON, an `error` in it taken for what it is. Short ones share a parser per thread, so
// a second one must not be made while the first lives.
class Parsed {
public:
    explicit Parsed(std::string_view data);
    base::Result<simdjson::dom::element> root() const;

private:
    std::string_view data_;
    std::optional<simdjson::dom::parser> own_;
    simdjson::simdjson_result<simdjson::dom::element> parsed_;
};

using Member = simdjson::simdjson_result<simdjson::dom::element>;

// Absent or null: nothing.
base::Result<> read_text(Member member, std::string& text);
base::Result<std::uint32_t> read_count(Member member);
template <class Ids>
base::Result<> read_ids(Member member, Ids& ids, std::size_t ids_max = event_ids_max) {
    simdjson::dom::element value;
    if (member.get(value) != simdjson::SUCCESS || value.is_null()) return {};
    simdjson::dom::array list;
    if (value.get(list) != simdjson::SUCCESS) return corrupt("has no list of ids");
    for (const simdjson::dom::element& element : list) {
        if (ids.size() == ids_max) return corrupt("holds too many ids");
        std::uint64_t id = 0;
        if (element.get(id) != simdjson::SUCCESS || id >= chat::token_ids_max)
            return corrupt("holds an id that no vocabulary has");
        ids.push_back(static_cast<chat::TokenId>(id));
    }
    return {};
}
// {"tokens", "token_logprobs", "top_logprobs"}, as text completions have them.
base::Result<> read_completion_scores(Member member, RawPiece& piece);

}  // namespace holdfast::upstream::raw_json
