#include "common/dialect/models.h"

#include "common/json/writer.h"

namespace holdfast::dialect {
namespace {

void write(json::Writer& json, const ModelCard& card) {
    json.begin_object();
    json.string("id", card.id);
    json.string("object", "model");
    json.number("created", card.created);
    json.string("owned_by", "holdfast");
    if (card.context > 0) {
        json.number("context_length", card.context);
        json.number("max_model_len", card.context);  // vLLM's name for it
    }
    if (!card.fingerprint.empty()) {
        json.key("holdfast");
        json.begin_object();
        json.string("fingerprint", card.fingerprint);
        json.end_object();
    }
    json.end_object();
}

}  // namespace

std::string render_model(const ModelCard& card) {
    std::string out;
    json::Writer json(out);
    write(json, card);
    return out;
}

std::string render_models(std::span<const ModelCard> cards) {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.string("object", "list");
    json.key("data");
    json.begin_array();
    for (const ModelCard& card : cards) write(json, card);
    json.end_array();
    json.end_object();
    return out;
}

}  // namespace holdfast::dialect
