// Plays whole conversations of an instance into what reads them and writes the client's answer: the
// first bytes choose kind, request and status, the others are what the instance sends, once whole
// and in pieces. Both must agree, because a reader that depends on how TCP cut the bytes could be
// led to another answer; and whatever comes out is bounded and can be shown to a client.
#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/assert.h"
#include "common/dialect/dialect.h"
#include "common/upstream/error.h"
#include "common/upstream/limits.h"
#include "common/upstream/reader.h"
#include "common/upstream/readiness.h"
#include "common/upstream/roster.h"
#include "common/upstream/tokenization.h"

namespace holdfast::upstream {
namespace {

struct Conversation {
    chat::Request request;
    const dialect::Dialect* dialect = nullptr;
    const Kind* kind = nullptr;
    Delivered delivered;
    int status = 200;
};

Conversation begin(std::uint8_t first, std::uint8_t second) {
    Conversation talk;
    talk.kind = kinds()[first % kinds().size()];
    talk.dialect = dialect::dialects()[(first >> 2) % dialect::dialects().size()];
    chat::Generation& asked = talk.request.generation;
    asked.choices = 1 + (first >> 3) % 3;
    if (first & 0x20) asked.logprobs = 2;
    if (first & 0x40) asked.stopping.max_tokens = 1 + (first >> 7) * 100;
    talk.request.presentation.stream = (second & 1) != 0;
    talk.request.presentation.want_ids = (second & 2) != 0;
    talk.request.presentation.include_usage = (second & 4) != 0;
    talk.request.presentation.reasoning = static_cast<chat::ReasoningForm>(second >> 3 & 3);
    if (second & 0x20) talk.delivered.reasoning = "as before";
    if (second & 0x40) talk.delivered.content = "as before";
    if (second & 0x80) talk.status = 400 + (second & 0x7F);
    return talk;
}

void check_event(const chat::Event& event, const Conversation& talk) {
    HF_ASSERT(event.choice < talk.request.generation.choices);
    HF_ASSERT(talk.kind->extended || event.ids.empty());
    HF_ASSERT(event.scores.size() <= scores_max);
    for (const chat::TokenId id : event.ids) HF_ASSERT(id >= 0 && id < chat::token_ids_max);
}

// The client's bytes, or how the attempt ended.
std::string play(const Conversation& talk, std::string_view bytes, std::size_t piece_max) {
    Reader reader(*talk.kind, talk.request.generation, talk.delivered);
    const auto encoder = talk.dialect->make_encoder(talk.request, {"id", 1, "model"});
    std::string out;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece_max, bytes.size()))) {
        reader.feed(bytes.substr(0, piece_max));
        while (true) {
            const auto read = reader.next();
            if (!read) {
                HF_ASSERT(read.error().origin == base::Origin::instance);
                encoder->error(read.error(), out);
                return out;
            }
            if (!*read) break;
            if ((*read)->event) {
                check_event(*(*read)->event, talk);
                encoder->event(*(*read)->event, out);
            }
            if (!(*read)->done) continue;
            encoder->end(out);
            return out;
        }
    }
    return out + "cut off";
}

// Everything else that an instance or the keeper may be asked.
void play_probes(std::string_view bytes) {
    if (const auto readiness = parse_readiness(bytes)) {
        HF_ASSERT(readiness->reasons.size() <= reasons_max);
        HF_ASSERT(parse_readiness(render_readiness(*readiness)).has_value());
    }
    if (const auto models = parse_models(bytes)) HF_ASSERT(models->size() <= models_max);
    (void)parse_roster(bytes);
    (void)read_tokenized(bytes);
    (void)read_detokenized(bytes);
}

}  // namespace
}  // namespace holdfast::upstream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast::upstream;
    if (size < 2) return 0;
    const Conversation talk = begin(data[0], data[1]);
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
    play_probes(bytes);
    if (talk.status != 200) {
        const auto error = read_error(talk.status, bytes);
        HF_ASSERT(!error.what.empty() && error.what.size() <= message_bytes_max);
        HF_ASSERT(simdjson::validate_utf8(talk.dialect->render_error(error).body));
        return 0;
    }
    const std::string whole = play(talk, bytes, std::max<std::size_t>(1, bytes.size()));
    HF_ASSERT(simdjson::validate_utf8(whole));
    HF_ASSERT(play(talk, bytes, 1) == whole);
    HF_ASSERT(play(talk, bytes, 7) == whole);
    return 0;
}
