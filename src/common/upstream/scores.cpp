#include "common/upstream/scores.h"

#include <string_view>

#include "common/dialect/openai_answer.h"
#include "common/upstream/limits.h"

namespace holdfast::upstream {

namespace ondemand = simdjson::ondemand;
namespace openai = dialect::openai;

namespace {

// Of what is impossible JSON has no number: vLLM writes -9999, others null.
constexpr float impossible = -9999;

bool read_logprob(ondemand::value value, float& logprob) {
    double number = 0;
    if (value.get_double().get(number)) {
        logprob = impossible;
        return value.is_null();
    }
    logprob = static_cast<float>(number);
    return true;
}

// Of chat: a list of {"token", "logprob", "bytes"}; `top_logprobs` only on the outer level.
template <class Score>
bool read_score_members(ondemand::object object, Score& score) {
    bool has_bytes = false;
    for (auto member : object) {
        ondemand::field field;
        if (std::move(member).get(field)) return false;
        const ondemand::raw_json_string key = field.key();
        if (key == "token") {
            std::string_view text;
            if (field.value().get_string().get(text)) return false;
            if (!has_bytes) score.bytes = text;
        } else if (key == "logprob") {
            if (!read_logprob(field.value(), score.logprob)) return false;
        } else if (key == "bytes") {
            if (field.value().is_null()) continue;
            ondemand::array bytes;
            if (field.value().get_array().get(bytes)) return false;
            has_bytes = true;
            score.bytes.clear();
            for (auto element : bytes) {
                std::uint64_t byte = 0;
                if (element.get_uint64().get(byte) || byte > 255) return false;
                score.bytes += static_cast<char>(byte);
            }
        } else if constexpr (requires { score.top; }) {
            if (key != "top_logprobs" || field.value().is_null()) continue;
            ondemand::array top;
            if (field.value().get_array().get(top)) return false;
            for (auto element : top) {
                ondemand::object alternative;
                if (element.get_object().get(alternative)) return false;
                if (score.top.size() == alternatives_max) return false;
                if (!read_score_members(alternative, score.top.emplace_back())) return false;
            }
        }
    }
    return true;
}

bool read_chat_scores(ondemand::value value, std::vector<chat::TokenScore>& scores) {
    if (value.is_null()) return true;
    ondemand::array content;
    if (value.get_array().get(content)) return false;
    for (auto element : content) {
        ondemand::object object;
        if (element.get_object().get(object) || scores.size() == scores_max) return false;
        if (!read_score_members(object, scores.emplace_back())) return false;
    }
    return true;
}

chat::TokenScore& at(std::vector<chat::TokenScore>& scores, std::size_t index) {
    if (scores.size() <= index) scores.resize(index + 1);
    return scores[index];
}

// Of text completions: parallel lists, in any order.
bool read_completion_list(std::string_view name, ondemand::value value,
                          std::vector<chat::TokenScore>& scores) {
    if (value.is_null()) return true;
    ondemand::array list;
    if (value.get_array().get(list)) return false;
    std::size_t index = 0;
    for (auto entry : list) {
        ondemand::value element;
        if (std::move(entry).get(element)) return false;
        if (index == scores_max) return false;
        chat::TokenScore& score = at(scores, index++);
        if (element.is_null()) continue;
        if (name == "tokens") {
            std::string_view text;
            if (element.get_string().get(text)) return false;
            score.bytes = openai::token_bytes(text, openai::completions_bytes_prefix);
        } else if (name == "token_logprobs") {
            if (!read_logprob(element, score.logprob)) return false;
        } else {
            ondemand::object top;
            if (element.get_object().get(top)) return false;
            for (auto member : top) {
                ondemand::field field;
                std::string_view token;
                float logprob = 0;
                if (std::move(member).get(field) || field.unescaped_key().get(token) ||
                    !read_logprob(field.value(), logprob) || score.top.size() == alternatives_max) {
                    return false;
                }
                score.top.push_back(
                    {0, openai::token_bytes(token, openai::completions_bytes_prefix), logprob});
            }
        }
    }
    return true;
}

}  // namespace

bool read_scores(ondemand::value value, std::vector<chat::TokenScore>& scores) {
    if (value.is_null()) return true;
    ondemand::object object;
    // An empty list or text stands for none at some servers.
    if (value.get_object().get(object)) {
        std::string_view text;
        if (!value.get_string().get(text)) return text.empty();
        ondemand::array list;
        bool is_empty = false;
        return !value.get_array().get(list) && !list.is_empty().get(is_empty) && is_empty;
    }
    for (auto member : object) {
        ondemand::field field;
        if (std::move(member).get(field)) return false;
        const ondemand::raw_json_string key = field.key();
        if (key == "content")
            if (!read_chat_scores(field.value(), scores)) return false;
        for (const std::string_view list : {"tokens", "token_logprobs", "top_logprobs"}) {
            if (key == list)
                if (!read_completion_list(list, field.value(), scores)) return false;
        }
    }
    return true;
}

}  // namespace holdfast::upstream
