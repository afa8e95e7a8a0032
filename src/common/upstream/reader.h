// What an instance answers: the bytes of its stream to events.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/request.h"
#include "common/upstream/kind.h"

namespace holdfast::upstream {

// Reads an answer wherever its bytes are cut. Accepts `reasoning_content` and `reasoning`, and the
// habits of many servers (docs/protocol.md, "What is accepted of an instance"). Not thread-safe;
// one per attempt.
//
// An event carries what its chunk carries. Usage arrives with or after the last finish. A chunk
// that says nothing (the role alone) gives no event. The ids of scores come from `holdfast.ids`;
// those of alternatives are not transmitted and are 0. Nothing is believed without bounds: choices
// that were not asked for, more tokens or text than were asked for, and what limits.h forbids are
// Code::corrupt. What comes for a choice after its finish, and after the end, is dropped.
class Reader {
public:
    struct Read {
        std::optional<chat::Event> event;
        bool done = false;  // "[DONE]"
    };

    // The same `peer` and `delivered` as in encode, and what was asked for. Servers that know no
    // ids may send thinking unsplit inside the content: an answer that begins with <think>, or what
    // continues delivered thinking. It is split off here. After delivered content everything is
    // content, also what the server calls reasoning because it did not see the thinking end.
    Reader(const Peer& peer, const chat::Generation& asked, const Delivered& delivered);
    ~Reader();
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;

    void feed(std::string_view bytes);
    // What the instance said next, or nothing until more bytes come. Code::corrupt
    // (Origin::instance) for what is not a chunk; an `error` object inside the stream becomes that
    // error (Origin::instance).
    base::Result<std::optional<Read>> next();

    // The server has named thinking in a field of its own: its content is content.
    bool server_splits() const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::upstream
