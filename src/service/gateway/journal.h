// What every live exchange of one event loop would need to go on elsewhere: the client's request
// and the token ids already delivered. Flat memory without pointers, so that another process that
// maps the same bytes can read it. One owner; loop thread only. Nothing is allocated after
// construction: a full journal refuses.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"

namespace holdfast::gateway {

class Journal {
public:
    using EntryId = std::uint32_t;

    static constexpr std::size_t page_bytes = 1024;

    // Formats `memory`: a table of `entries` slots, the rest in pages. 8-byte aligned.
    Journal(std::span<std::byte> memory, std::uint32_t entries);

    // Opens an entry for one exchange. Code::overloaded when slots or pages run out.
    base::Result<EntryId> open(std::string_view request_id, std::uint64_t seed,
                               std::string_view path, std::string_view body);
    void close(EntryId id);

    // Appends delivered ids of one choice (below 256). Committed by one store of the count, so a
    // reader never sees half a record. Code::corrupt for an id outside [0, chat::token_ids_max).
    base::Result<> append(EntryId id, std::uint32_t choice, std::span<const chat::TokenId> ids);
    // Attempts are fenced: the number of the attempt that may append now.
    void set_attempt(EntryId id, std::uint32_t attempt);

    // Delivered ids per choice, in order.
    std::vector<std::vector<chat::TokenId>> delivered(EntryId id, std::uint32_t choices) const;
    std::uint32_t count(EntryId id) const;
    std::string body(EntryId id) const;

    std::uint32_t pages_free() const;
    std::uint32_t pages_total() const;
    std::uint32_t entries_open() const;

private:
    static constexpr std::uint32_t none = UINT32_MAX;
    static constexpr std::size_t payload_bytes = page_bytes - sizeof(std::uint32_t);
    static constexpr std::uint32_t records_per_page = payload_bytes / sizeof(std::uint32_t);

    struct Header {
        std::uint64_t magic;
        std::uint32_t entries, pages;
        std::uint32_t free_entry, free_page;  // heads of the free lists
        std::uint32_t pages_free, entries_open;
    };
    struct Entry {
        std::uint32_t in_use, next_free;
        std::uint32_t attempt;
        std::uint32_t text_first, text_bytes, path_bytes;  // path, then body
        std::uint32_t record_first, record_last, record_count;
        std::uint64_t seed;
        char request_id[64];
    };
    struct Page {
        std::uint32_t next;
        std::byte payload[payload_bytes];
    };
    static_assert(sizeof(Page) == page_bytes);

    Header& header() const;
    Entry& entry(EntryId id) const;
    Page& page(std::uint32_t index) const;
    std::uint32_t take_page();
    void free_chain(std::uint32_t first);
    base::Result<> write_text(Entry& entry, std::string_view path, std::string_view body);

    std::span<std::byte> memory_;
    std::size_t pages_offset_ = 0;
};

}  // namespace holdfast::gateway
