// What every live exchange of one event loop would need to go on elsewhere: the client's request,
// what has been delivered, and how far the client has it. Flat memory without pointers, so that
// another process that maps the same bytes can read it. One owner; loop thread only. Nothing is
// allocated after construction: a full journal refuses.
//
// The memory holds facts alone: entries in use and their chains of pages. What is free, and where
// chains end, is this object's own business and found anew by `attach`.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/chat/request.h"
#include "common/http/message.h"

namespace holdfast::gateway {

class Journal {
public:
    using EntryId = std::uint32_t;

    static constexpr std::size_t page_bytes = 1024;
    static constexpr std::uint32_t choices_max = 128;
    static constexpr std::size_t request_id_bytes_max = 128;
    static constexpr std::size_t fingerprint_bytes_max = 255;

    // What is known of an exchange when it is admitted.
    struct Opening {
        std::string_view request_id;  // at most request_id_bytes_max, as http::request_id gives it
        std::string_view path, body;
        std::string_view answer_id, model;  // of the answer's head; empty where it has none
        std::int64_t created = 0;           // the same
        std::uint64_t seed = 0;
        base::Deadline deadline;
    };

    // How far the client has the answer. Between two writes under_way is 0 and the others are
    // exact. Within one the kernel has taken more than `wire`, and knows how much (TCP_INFO).
    struct Sent {
        std::uint64_t answer = 0;     // bytes of the encoded answer, without head, framing, pings
        std::uint64_t wire = 0;       // all bytes that the kernel took for the client's socket
        std::uint64_t under_way = 0;  // bytes of the encoded answer in the write that has begun
        friend bool operator==(const Sent&, const Sent&) = default;
    };

    // One event's delivered ids, or its text where an instance tells no ids.
    struct Ids {
        std::uint32_t choice = 0;
        std::vector<chat::TokenId> ids;
    };
    struct Text {
        std::string reasoning, content;
    };

    // Formats `memory`: a table of `entries` slots, the rest in pages. 8-byte aligned.
    Journal(std::span<std::byte> memory, std::uint32_t entries);
    // Takes over what another process has left. The memory is a stranger: entries that do not hold
    // together are dropped. Code::corrupt where it is no journal at all.
    static base::Result<Journal> attach(std::span<std::byte> memory);

    // Opens an entry for one exchange. Code::overloaded when slots or pages run out.
    base::Result<EntryId> open(const Opening& opening);
    void close(EntryId id);

    // Attempts are fenced: only the attempt of this number may append from now on.
    void set_attempt(EntryId id, std::uint32_t attempt);
    // Delivered ids of one event. Committed by one store of the size, so a reader never sees half
    // an event. Code::corrupt for an id outside [0, chat::token_ids_max), a choice that no answer
    // has, and an attempt that was given up; Code::overloaded when pages run out.
    base::Result<> append(EntryId id, std::uint32_t attempt, std::uint32_t choice,
                          std::span<const chat::TokenId> ids);
    // The same for text of the first choice.
    base::Result<> append(EntryId id, std::uint32_t attempt, std::string_view reasoning,
                          std::string_view content);
    // Forgets what was delivered: nothing of it has reached the client.
    void forget(EntryId id);
    // Of the instance that the answer began at: what a resume must match. False if it is too long.
    bool set_fingerprint(EntryId id, std::string_view fingerprint);
    void set_framing(EntryId id, http::Framing framing);
    void set_sent(EntryId id, const Sent& sent);

    std::vector<EntryId> entries() const;  // in use
    std::string request_id(EntryId id) const;
    std::string path(EntryId id) const;
    std::string body(EntryId id) const;
    std::string answer_id(EntryId id) const;
    std::string model(EntryId id) const;
    std::int64_t created(EntryId id) const;
    std::uint64_t seed(EntryId id) const;
    base::Deadline deadline(EntryId id) const;
    std::string_view fingerprint(EntryId id) const;
    http::Framing framing(EntryId id) const;
    Sent sent(EntryId id) const;
    // Number of delivered ids, and ids per choice, in order.
    std::uint32_t count(EntryId id) const;
    std::vector<std::vector<chat::TokenId>> delivered(EntryId id, std::uint32_t choices) const;
    // The same event by event: what a replay that emits goes by.
    std::vector<Ids> id_events(EntryId id) const;
    std::vector<Text> text_events(EntryId id) const;

    std::uint32_t pages_free() const { return static_cast<std::uint32_t>(free_pages_.size()); }
    std::uint32_t pages_total() const { return header().pages; }
    std::uint32_t entries_open() const {
        return header().entries - static_cast<std::uint32_t>(free_entries_.size());
    }

private:
    static constexpr std::uint64_t format = 0x32304A5446444C48;  // "HLDFTJ02"
    static constexpr std::uint32_t none = UINT32_MAX;
    static constexpr std::size_t payload_bytes = page_bytes - sizeof(std::uint32_t);
    static constexpr std::uint32_t ends_event = 1U << 31;

    struct Header {
        std::uint64_t magic;
        std::uint32_t entries, pages;
    };
    // Bytes in a chain of pages. How many pages follows from `bytes`.
    struct Chain {
        std::uint32_t first, bytes;
    };
    struct Entry {
        std::uint32_t in_use, attempt;
        // Request id, path, answer id, model and body, one after the other.
        Chain text;
        std::uint32_t request_id_bytes, path_bytes, answer_id_bytes, model_bytes;
        Chain ids;   // records of 4 bytes: an id, its choice, whether it ends an event
        Chain said;  // for each event two sizes of 4 bytes, then reasoning and content
        std::uint64_t seed;
        std::int64_t created, deadline;  // the latter of the monotonic clock, in nanoseconds
        Sent sent;
        std::uint8_t framing, fingerprint_bytes;
        char fingerprint[fingerprint_bytes_max];
    };
    struct Page {
        std::uint32_t next;
        std::byte payload[payload_bytes];
    };
    static_assert(sizeof(Page) == page_bytes);
    // Last pages of an entry's two growing chains.
    struct Tails {
        std::uint32_t ids = none, said = none;
    };

    explicit Journal(std::span<std::byte> memory) : memory_(memory) {}
    void lay_out();
    static std::size_t pages_offset(std::size_t entries);
    static std::size_t pages_for(std::size_t bytes) {
        return (bytes + payload_bytes - 1) / payload_bytes;
    }

    Header& header() const;
    Entry& entry(EntryId id) const;
    const Entry& used_entry(EntryId id) const;
    Page& page(std::uint32_t index) const;
    // Writes behind the chain's committed bytes; the caller has made sure of the pages.
    void put(Chain& chain, std::size_t at, std::uint32_t& tail, std::string_view bytes);
    bool has_room(const Chain& chain, std::size_t bytes) const;
    void release(const Chain& chain);
    std::string read(const Chain& chain, std::size_t from, std::size_t bytes) const;
    template <class Function>
    void each_record(EntryId id, Function function) const;

    // Of `attach`: marks the pages of a sound entry as claimed, or of none.
    bool claim(const Entry& entry, std::vector<bool>& claimed, Tails& tails) const;
    bool claim(const Chain& chain, std::vector<bool>& claimed,
               std::vector<std::uint32_t>& pages) const;
    bool is_sound(const Entry& entry) const;

    std::span<std::byte> memory_;
    std::size_t pages_offset_ = 0;
    std::vector<std::uint32_t> free_entries_, free_pages_;  // taken from the end
    std::vector<Tails> tails_;                              // by entry
};

}  // namespace holdfast::gateway
