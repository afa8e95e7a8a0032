// llama-server: POST /apply-template gives the prompt as text, POST /completion takes a list of
// texts and ids as prompt and tells the id of every token.
#include <algorithm>

#include "common/upstream/raw_forms.h"
#include "common/upstream/raw_json.h"

namespace holdfast::upstream {
namespace {

namespace dom = simdjson::dom;
using base::Result;

Call render(std::string_view, std::span<const chat::Message> messages) {
    Call call{"/apply-template", {}};
    json::Writer json(call.body);
    json.begin_object();
    raw_json::write_messages(json, messages);
    json.end_object();
    return call;
}

Result<RawPrompt> read_rendered(std::string_view body) {
    dom::parser parser;
    std::string_view text;
    if (parser.parse(body.data(), body.size())["prompt"].get(text) != simdjson::SUCCESS)
        return raw_json::corrupt("gave no prompt");
    return RawPrompt{.text = std::string(text), .ids = {}, .opens_thinking = opens_thinking(text)};
}

// A text that is the whole prompt gets the tokens that begin every prompt, and so does the first of
// a list.
void write_prompt(json::Writer& json, const RawAsk& ask) {
    json.key("prompt");
    json.begin_array();
    if (!ask.prompt.ids.empty()) {
        for (const chat::TokenId id : ask.prompt.ids) json.number(id);
    } else {
        json.string(ask.prompt.text);
    }
    for (const RawRun& run : ask.said) {
        for (const chat::TokenId id : run.ids) json.number(id);
        if (!run.text.empty()) json.string(run.text);
    }
    json.end_array();
}

void write_logit_bias(json::Writer& json, const chat::Sampling& sampling) {
    if (sampling.logit_bias.empty()) return;
    json.key("logit_bias");
    json.begin_array();
    for (const auto& [id, bias] : sampling.logit_bias) {
        json.begin_array();
        json.number(id);
        json.number(bias);
        json.end_array();
    }
    json.end_array();
}

// Of the last event: without it prompt and settings would be repeated there.
void write_wanted_fields(json::Writer& json) {
    json.key("response_fields");
    json.begin_array();
    for (const std::string_view field :
         {"content", "tokens", "stop", "stop_type", "tokens_predicted", "tokens_evaluated",
          "completion_probabilities"})
        json.string(field);
    json.end_array();
}

Call generate(const RawAsk& ask) {
    Call call{"/completion", {}};
    call.body.reserve(raw_json::body_bytes(ask));
    json::Writer json(call.body);
    const chat::Sampling& sampling = ask.sampling;
    json.begin_object();
    write_prompt(json, ask);
    json.boolean("stream", true);
    json.boolean("return_tokens", true);
    write_wanted_fields(json);
    // All of them always: the server has defaults of its own.
    json.number("temperature", sampling.temperature);
    json.number("top_p", sampling.top_p);
    json.number("top_k", sampling.top_k);
    json.number("min_p", sampling.min_p);
    json.number("repeat_penalty", sampling.repetition_penalty);
    json.number("presence_penalty", sampling.presence_penalty);
    json.number("frequency_penalty", sampling.frequency_penalty);
    if (const auto seed = raw_json::seed(ask)) json.number("seed", *seed & 0x7FFF'FFFFU);
    write_logit_bias(json, sampling);
    if (const auto left = raw_json::tokens_left(ask)) json.number("n_predict", *left);
    if (ask.stopping.ignore_eos) json.boolean("ignore_eos", true);
    // With 0 it tells none at all.
    if (ask.logprobs) json.number("n_probs", std::max(*ask.logprobs, 1U));
    json.end_object();
    return call;
}

// {"id", "token", "bytes", "logprob"}, and on the outer level "top_logprobs".
template <class Score>
bool read_score(const dom::element& from, Score& score) {
    dom::array bytes;
    double logprob = 0;
    std::uint64_t id = 0;
    if (from["bytes"].get(bytes) != simdjson::SUCCESS ||
        from["logprob"].get(logprob) != simdjson::SUCCESS ||
        from["id"].get(id) != simdjson::SUCCESS || id >= chat::token_ids_max)
        return false;
    for (const dom::element& element : bytes) {
        std::uint64_t byte = 0;
        if (element.get(byte) != simdjson::SUCCESS || byte > 255) return false;
        score.bytes += static_cast<char>(byte);
    }
    score.id = static_cast<chat::TokenId>(id);
    score.logprob = static_cast<float>(logprob);
    return true;
}

bool read_scores(const dom::element& root, std::vector<chat::TokenScore>& scores) {
    dom::array tokens;
    if (root["completion_probabilities"].get(tokens) != simdjson::SUCCESS) return true;
    for (const dom::element& token : tokens) {
        chat::TokenScore& score = scores.emplace_back();
        if (!read_score(token, score)) return false;
        dom::array top;
        if (token["top_logprobs"].get(top) != simdjson::SUCCESS) continue;
        for (const dom::element& alternative : top) {
            if (score.top.size() == alternatives_max) break;
            if (!read_score(alternative, score.top.emplace_back())) return false;
        }
    }
    return true;
}

Result<> read_end(const dom::element& root, RawPiece& piece) {
    std::string_view why;
    if (root["stop_type"].get(why) != simdjson::SUCCESS)
        return raw_json::corrupt("does not tell why the answer ended");
    if (why != "eos" && why != "word" && why != "limit") return raw_json::gave_up();
    piece.finish = why == "limit" ? chat::FinishReason::length : chat::FinishReason::stop;
    piece.done = true;
    return {};
}

Result<RawPiece> read(std::string_view data) {
    RawPiece piece;
    if (data == "[DONE]") {
        piece.done = true;
        return piece;
    }
    const raw_json::Parsed parsed(data);
    HF_TRY_ASSIGN(const dom::element root, parsed.root());
    bool ends = false;
    if (root["stop"].get(ends) != simdjson::SUCCESS) return raw_json::corrupt("is no event");
    HF_TRY(raw_json::read_text(root["content"], piece.text));
    HF_TRY(raw_json::read_ids(root["tokens"], piece.ids));
    HF_TRY_ASSIGN(const std::uint32_t tokens, raw_json::read_count(root["tokens_predicted"]));
    HF_TRY_ASSIGN(const std::uint32_t prompt, raw_json::read_count(root["tokens_evaluated"]));
    piece.tokens = tokens;
    if (prompt > 0) piece.prompt_tokens = prompt;
    if (!read_scores(root, piece.scores)) return raw_json::corrupt("has strange log probabilities");
    if (ends) HF_TRY(read_end(root, piece));
    return piece;
}

}  // namespace

// Its penalties look at the last tokens, of whichever part.
constinit const RawForm raw_llama_server{.render = render,
                                         .read_rendered = read_rendered,
                                         .generate = generate,
                                         .read = read,
                                         .takes_text = true,
                                         .penalties_continue = true,
                                         .progress_path = {},
                                         .read_progress = nullptr};

}  // namespace holdfast::upstream
