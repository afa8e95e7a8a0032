// What an instance is asked for an answer.
#pragma once

#include <string_view>

#include "common/chat/request.h"
#include "common/upstream/kind.h"

namespace holdfast::upstream {

// Always streamed, with usage. Where ids are known the extension object carries want_ids and
// resume. For the others `delivered` (choice 0) is appended to a text prompt; max_tokens is not
// reduced, see docs/protocol.md. `model` is the instance's own name for request.model.
Call encode(const chat::Request& request, const Peer& peer, std::string_view model,
            const Delivered& delivered);

// True if the instance can go on after a part of the answer was delivered: with ids always, from
// text for one choice and a text prompt. Chat templates drop finished thinking or close an open
// message, so no server goes on with a conversation's answer as it was (raw.h does that).
bool can_continue(const Peer& peer, const chat::Generation& generation);

}  // namespace holdfast::upstream
