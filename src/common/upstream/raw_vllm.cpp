// vLLM: POST /tokenize gives the prompt's ids, POST /v1/completions takes ids as prompt and, asked
// for it, tells the ids of prompt and answer.
#include <algorithm>
#include <charconv>

#include "common/upstream/raw_forms.h"
#include "common/upstream/raw_json.h"

namespace holdfast::upstream {
namespace {

namespace dom = simdjson::dom;
using base::Result;

// Enough of the prompt's end to see whether it opens the thinking.
constexpr std::size_t last_texts_max = 16;
constexpr std::string_view newline_spelt = "\u010A";  // byte-level BPE's letter for a newline

Call render(std::string_view model, std::span<const chat::Message> messages) {
    Call call{"/tokenize", {}};
    json::Writer json(call.body);
    json.begin_object();
    json.string("model", model);
    raw_json::write_messages(json, messages);
    json.boolean("add_generation_prompt", true);
    json.boolean("return_token_strs", true);
    json.end_object();
    return call;
}

// The end of the prompt's text, from the tokens' spellings.
std::string ending(const dom::array& spellings) {
    std::vector<std::string_view> last;
    for (const dom::element& element : spellings) {
        std::string_view spelling;
        if (element.get(spelling) != simdjson::SUCCESS) return {};
        if (last.size() == last_texts_max) last.erase(last.begin());
        last.push_back(spelling);
    }
    std::string text;
    for (const std::string_view spelling : last) text += spelling;
    for (std::size_t at = 0; (at = text.find(newline_spelt, at)) != std::string::npos; ++at)
        text.replace(at, newline_spelt.size(), "\n");
    return text;
}

Result<RawPrompt> read_rendered(std::string_view body) {
    dom::parser parser;
    dom::element root;
    if (parser.parse(body.data(), body.size()).get(root) != simdjson::SUCCESS)
        return raw_json::corrupt("gave no prompt");
    RawPrompt prompt;
    HF_TRY(raw_json::read_ids(root["tokens"], prompt.ids, tokens_listed_max));
    if (prompt.ids.empty()) return raw_json::corrupt("gave no prompt");
    HF_TRY_ASSIGN(prompt.context, raw_json::read_count(root["max_model_len"]));
    dom::array spellings;
    if (root["token_strs"].get(spellings) == simdjson::SUCCESS)
        prompt.opens_thinking = opens_thinking(ending(spellings));
    return prompt;
}

void write_prompt(json::Writer& json, const RawAsk& ask) {
    if (ask.prompt.ids.empty()) {
        json.string("prompt", ask.prompt.text);
        return;
    }
    json.key("prompt");
    json.begin_array();
    for (const chat::TokenId id : ask.prompt.ids) json.number(id);
    for (const RawRun& run : ask.said)
        for (const chat::TokenId id : run.ids) json.number(id);
    json.end_array();
}

// What the server leaves alone unless it is asked for.
void write_unusual(json::Writer& json, const RawAsk& ask) {
    const chat::Sampling& sampling = ask.sampling;
    if (sampling.presence_penalty != 0) json.number("presence_penalty", sampling.presence_penalty);
    if (sampling.frequency_penalty != 0)
        json.number("frequency_penalty", sampling.frequency_penalty);
    if (!sampling.logit_bias.empty()) {
        json.key("logit_bias");
        json.begin_object();
        for (const auto& [id, bias] : sampling.logit_bias) json.number(std::to_string(id), bias);
        json.end_object();
    }
    const std::uint32_t min = ask.stopping.min_tokens;
    if (min > ask.said_tokens) json.number("min_tokens", min - ask.said_tokens);
    if (ask.stopping.ignore_eos) json.boolean("ignore_eos", true);
    if (!ask.stopping.stop_token_ids.empty()) {
        json.key("stop_token_ids");
        json.begin_array();
        for (const chat::TokenId id : ask.stopping.stop_token_ids) json.number(id);
        json.end_array();
    }
    if (ask.logprobs) json.number("logprobs", *ask.logprobs);
}

Call generate(const RawAsk& ask) {
    Call call{"/v1/completions", {}};
    call.body.reserve(raw_json::body_bytes(ask));
    json::Writer json(call.body);
    const chat::Sampling& sampling = ask.sampling;
    json.begin_object();
    json.string("model", ask.model);
    write_prompt(json, ask);
    json.boolean("stream", true);
    json.boolean("return_token_ids", true);
    json.number("temperature", sampling.temperature);
    json.number("top_p", sampling.top_p);
    json.number("top_k", sampling.top_k);
    json.number("min_p", sampling.min_p);
    json.number("repetition_penalty", sampling.repetition_penalty);
    if (const auto seed = raw_json::seed(ask)) json.number("seed", *seed & 0x7FFF'FFFF'FFFF'FFFFU);
    // Without a number it would take 16.
    if (const auto left = raw_json::tokens_left(ask)) json.number("max_tokens", *left);
    write_unusual(json, ask);
    json.end_object();
    return call;
}

Result<> read_finish(const dom::element& choice, RawPiece& piece) {
    std::string_view why;
    if (choice["finish_reason"].get(why) != simdjson::SUCCESS || why.empty()) return {};
    if (why != "stop" && why != "length") return raw_json::gave_up();
    piece.finish = why == "length" ? chat::FinishReason::length : chat::FinishReason::stop;
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
    dom::array choices;
    if (root["choices"].get(choices) != simdjson::SUCCESS) return raw_json::corrupt("is no event");
    if (choices.size() == 0) return piece;
    const dom::element choice = choices.at(0).value_unsafe();
    HF_TRY(raw_json::read_text(choice["text"], piece.text));
    HF_TRY(raw_json::read_ids(choice["token_ids"], piece.ids));
    HF_TRY(raw_json::read_ids(choice["prompt_token_ids"], piece.prompt_ids, tokens_listed_max));
    HF_TRY(raw_json::read_completion_scores(choice["logprobs"], piece));
    HF_TRY(read_finish(choice, piece));
    return piece;
}

// Steps of all engines, and tokens, for versions that do not count steps.
std::optional<double> read_progress(std::string_view page) {
    std::optional<double> sum;
    while (!page.empty()) {
        const std::size_t end = std::min(page.find('\n'), page.size());
        const std::string_view line = page.substr(0, end);
        page.remove_prefix(std::min(end + 1, page.size()));
        const bool counts = line.starts_with("vllm:iteration_tokens_total_count") ||
                            line.starts_with("vllm:prompt_tokens_total") ||
                            line.starts_with("vllm:generation_tokens_total");
        if (!counts) continue;
        const std::string_view number = line.substr(line.rfind(' ') + 1);
        double value = 0;
        const auto [rest, error] =
            std::from_chars(number.data(), number.data() + number.size(), value);
        if (error == std::errc()) sum = sum.value_or(0) + value;
    }
    return sum;
}

}  // namespace

constinit const RawForm raw_vllm{.render = render,
                                 .read_rendered = read_rendered,
                                 .generate = generate,
                                 .read = read,
                                 .takes_text = false,
                                 .penalties_continue = false,
                                 .progress_path = "/metrics",
                                 .read_progress = read_progress};

}  // namespace holdfast::upstream
