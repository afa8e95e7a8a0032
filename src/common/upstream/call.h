// What an instance is asked for an answer.
#pragma once

#include <string_view>

#include "common/chat/request.h"
#include "common/upstream/kind.h"

namespace holdfast::upstream {

// Always streamed, with usage. Where ids are known the extension object carries want_ids and
// resume. For the others `delivered` (choice 0) becomes the beginning of the assistant's answer, in
// the form that the kind understands; max_tokens is not reduced, see docs/protocol.md. `model` is
// the instance's own name for request.model.
Call encode(const chat::Request& request, const Peer& peer, std::string_view model,
            const Delivered& delivered);

// True if the instance can go on after a part of the answer was delivered: with ids always, from
// text for one choice and a prompt that is not token ids.
bool can_continue(const Peer& peer, const chat::Generation& generation);

}  // namespace holdfast::upstream
