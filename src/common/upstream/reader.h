// The gateway's side of talking to an instance: every instance speaks some form of OpenAI's API.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/request.h"

namespace holdfast::upstream {

// What an instance is. `holdfast` understands the extension of docs/protocol.md; the others
// continue from text after a loss, where they can.
enum class InstanceKind { holdfast, vllm, llama_server, openai };
base::Result<InstanceKind> parse_instance_kind(std::string_view text);
std::string_view name(InstanceKind kind);

struct UpstreamCall {
    std::string path;  // "/v1/chat/completions" or "/v1/completions"
    std::string body;
};

// What earlier attempts delivered of one choice, for servers that continue from the text.
struct Delivered {
    std::string reasoning, content;
    bool server_splits = false;  // the server named the thinking itself, in a field of its own
    bool any() const { return !reasoning.empty() || !content.empty(); }
};

// Always streamed, with usage. For InstanceKind::holdfast the extension object carries want_ids
// and resume. For the others `delivered` (choice 0) becomes the beginning of the assistant's
// answer, in the form that the kind understands; max_tokens is not reduced, see docs/protocol.md.
// `upstream_model` replaces request.model.
UpstreamCall encode_upstream(const chat::Request& request, InstanceKind kind,
                             std::string_view upstream_model, const Delivered& delivered);
// True if this kind can go on after a part of the answer was delivered: holdfast always, the others
// for one choice and a prompt that is not token ids; InstanceKind::openai only for raw text.
bool can_continue(InstanceKind kind, const chat::Request& request);

// Reads the data of one SSE event of an upstream's stream. Accepts `reasoning_content` and
// `reasoning`. Not thread-safe; one per attempt.
//
// An event carries what its chunk carries. Usage arrives after the last finish, as an event of
// its own (no ids, no text, no finish). A chunk that says nothing (the role alone) gives no event.
// The ids of scores come from `holdfast.ids`; those of alternatives are not transmitted and are 0.
class UpstreamReader {
public:
    struct Read {
        std::optional<chat::Event> event;
        bool done = false;  // "[DONE]"
    };
    // The server has named thinking in a field of its own: its content is content.
    bool server_splits() const;
    // Code::corrupt (Origin::instance) for what is not a chunk; an `error` object inside the
    // stream becomes that error (Origin::instance).
    base::Result<Read> read(std::string_view data);

    UpstreamReader();  // of a holdfast worker
    // The same `kind` and `delivered` as in encode_upstream. Servers other than holdfast may send
    // thinking unsplit inside the content: an answer that begins with <think>, or what continues
    // delivered thinking. It is split off here. After delivered content everything is content,
    // also what the server calls reasoning because it did not see the thinking end.
    UpstreamReader(InstanceKind kind, const Delivered& delivered);
    ~UpstreamReader();
    UpstreamReader(UpstreamReader&&) noexcept;
    UpstreamReader& operator=(UpstreamReader&&) noexcept;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

// An answer with a status other than 200: a 4xx is the client's error and keeps message, param,
// code; 429 and 503 are overloaded (Retry::elsewhere); other 5xx are unavailable.
base::Error read_upstream_error(int status, std::string_view body);

}  // namespace holdfast::upstream
