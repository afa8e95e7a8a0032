// What an instance is: how it is asked, read and probed. One file per kind, listed in kinds.def.
// Every instance speaks some form of OpenAI's API; a kind says in what its form differs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/chat/request.h"
#include "common/dialect/tokenization.h"
#include "common/json/writer.h"

namespace holdfast::upstream {

struct Call {
    std::string path;  // "/v1/chat/completions", "/v1/completions", "/tokenize", ...
    std::string body;
};

// What earlier attempts delivered of one choice, for servers that continue from the text.
struct Delivered {
    std::string reasoning, content;
    bool server_splits = false;  // the server named the thinking itself, in a field of its own
    bool any() const { return !reasoning.empty() || !content.empty(); }
};

// What an instance can do beside answering. A kind has what all its servers can; what a probe finds
// out about one of them is remembered with the instance (Peer).
struct Offer {
    // It reports token ids and goes on after them, whatever the prompt and the number of choices.
    bool continues_ids = false;
    bool continues_text = false;  // from text: a longer prompt
    bool renders = false;         // makes the prompt for messages and tells it
    bool tells_ids = false;       // raw answers carry ids, and ids are taken as a prompt (raw.h)
    friend bool operator==(const Offer&, const Offer&) = default;
};

// How an instance is asked how it is.
struct ProbePlan {
    enum class Says : std::uint8_t {
        readiness,  // the page is readiness.h's
        alive,      // 200 ready, 503 loading; the list of models is asked for when it is wanted
        models,     // the page is the list of models
    };
    std::string_view path;
    Says says = Says::alive;
    bool metered = false;  // each question may cost something: once its models are known, fewer
};

// In what a request's fields differ from OpenAI's and vLLM's.
struct Words {
    std::string_view repetition_penalty = "repetition_penalty";
    std::uint64_t seed_max = 0x7FFF'FFFF'FFFF'FFFF;  // all ones: a seed keeps these bits
    bool logit_bias_is_list = false;                 // [[id, bias], ...] in place of an object
    bool has_own_defaults = false;  // of top_k, min_p and repetition penalty: always written
};

struct RawForm;

struct Kind {
    std::string_view name;  // "vllm", as in settings
    std::string_view summary;
    bool extended = false;  // speaks the extension of docs/protocol.md
    Offer offer;
    ProbePlan probe;
    Words words;
    const RawForm* raw = nullptr;  // how it is asked for raw answers, if it is
    // not_implemented (tag, Origin::instance) for what the kind does not have; nullptr: nothing of
    // it.
    base::Result<Call> (*tokenize)(const dialect::TokenizeRequest& request,
                                   std::string_view model) = nullptr;
    base::Result<Call> (*detokenize)(const dialect::DetokenizeRequest& request,
                                     std::string_view model) = nullptr;
};

#define KIND(name) extern const Kind name##_kind;
#include "common/upstream/kinds.def"
#undef KIND

std::span<const Kind* const> kinds();
// Code::invalid names the kinds that there are.
base::Result<const Kind*> find_kind(std::string_view name);

// One instance as the codecs see it.
struct Peer {
    const Kind* kind = &holdfast_kind;
    Offer offer = kind->offer;

    Peer() = default;
    // One of which no more is known than its kind.
    Peer(const Kind& of) : kind(&of) {}
    friend bool operator==(const Peer&, const Peer&) = default;
};

}  // namespace holdfast::upstream
