#include "common/upstream/raw.h"

#include "common/upstream/raw_forms.h"

namespace holdfast::upstream {

bool opens_thinking(std::string_view prompt) {
    while (prompt.ends_with('\n')) prompt.remove_suffix(1);
    return prompt.ends_with("<think>");
}

bool fits_raw(const Peer& peer, const chat::Generation& wanted) {
    const RawForm* form = peer.kind->raw;
    if (form == nullptr || wanted.choices != 1 || wanted.echo) return false;
    const bool is_chat = std::holds_alternative<std::vector<chat::Message>>(wanted.prompt);
    return (peer.offer.renders || !is_chat) && (peer.offer.tells_ids || form->takes_text);
}

bool repeats_exactly(const RawForm& form, const chat::Sampling& sampling) {
    const bool greedy = sampling.temperature == 0 || sampling.top_k == 1;
    const bool penalizes = sampling.presence_penalty != 0 || sampling.frequency_penalty != 0;
    return greedy && (!penalizes || form.penalties_continue);
}

Call raw_trial(const RawForm& form, std::string_view model, const RawPrompt& prompt) {
    const chat::Sampling greedy{.temperature = 0, .seed = {}, .logit_bias = {}};
    const chat::Stopping at_once{.max_tokens = 1, .stop = {}, .stop_token_ids = {}};
    return form.generate({.model = model,
                          .prompt = prompt,
                          .said = {},
                          .sampling = greedy,
                          .stopping = at_once,
                          .logprobs = {}});
}

}  // namespace holdfast::upstream
