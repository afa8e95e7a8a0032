// Takes over a journal that another process has left. Nothing in it is trusted: every number is
// checked before it is used, every walk is bounded by what the memory can hold.
#include <cstring>

#include "service/gateway/journal.h"

namespace holdfast::gateway {

base::Result<Journal> Journal::attach(std::span<std::byte> memory) {
    Journal journal(memory);
    if (memory.size() < sizeof(Header) || journal.header().magic != format)
        return base::fail(base::Code::corrupt, "this memory holds no journal");
    const Header& head = journal.header();
    const std::size_t entries_max = (memory.size() - sizeof(Header)) / sizeof(Entry);
    if (head.entries > entries_max || pages_offset(head.entries) > memory.size() ||
        head.pages > (memory.size() - pages_offset(head.entries)) / page_bytes)
        return base::fail(base::Code::corrupt, "the journal is larger than its memory");
    journal.lay_out();
    std::vector<bool> claimed(head.pages);
    for (std::uint32_t i = head.entries; i-- > 0;) {
        Entry& slot = journal.entry(i);
        if (slot.in_use == 1 && journal.claim(slot, claimed, journal.tails_[i])) continue;
        slot.in_use = 0;
        journal.free_entries_.push_back(i);
    }
    for (std::uint32_t i = head.pages; i-- > 0;)
        if (!claimed[i]) journal.free_pages_.push_back(i);
    return journal;
}

bool Journal::is_sound(const Entry& entry) const {
    const std::size_t parts = std::size_t{entry.request_id_bytes} + entry.path_bytes +
                              entry.answer_id_bytes + entry.model_bytes;
    if (parts > entry.text.bytes || entry.request_id_bytes > request_id_bytes_max) return false;
    if (entry.ids.bytes % sizeof(std::uint32_t) != 0) return false;
    return entry.framing <= static_cast<std::uint8_t>(http::Framing::until_close);
}

bool Journal::claim(const Chain& chain, std::vector<bool>& claimed,
                    std::vector<std::uint32_t>& pages) const {
    std::uint32_t index = chain.first;
    for (std::size_t left = pages_for(chain.bytes); left > 0; --left) {
        if (index >= claimed.size() || claimed[index]) return false;
        claimed[index] = true;
        pages.push_back(index);
        index = page(index).next;
    }
    return true;
}

bool Journal::claim(const Entry& entry, std::vector<bool>& claimed, Tails& tails) const {
    if (!is_sound(entry)) return false;
    std::vector<std::uint32_t> pages;
    bool sound = claim(entry.text, claimed, pages) && claim(entry.ids, claimed, pages);
    if (entry.ids.bytes > 0 && sound) tails.ids = pages.back();
    sound = sound && claim(entry.said, claimed, pages);
    if (entry.said.bytes > 0 && sound) tails.said = pages.back();
    // The sizes within `said` must add up.
    const std::string said = sound ? read(entry.said, 0, entry.said.bytes) : std::string();
    for (std::size_t at = 0; sound && at < said.size();) {
        std::uint32_t sizes[2];
        sound = said.size() - at >= sizeof sizes;
        if (!sound) break;
        std::memcpy(sizes, said.data() + at, sizeof sizes);
        at += sizeof sizes;
        const std::uint64_t text = std::uint64_t{sizes[0]} + sizes[1];
        sound = text <= said.size() - at;
        at += text;
    }
    if (sound) return true;
    for (const std::uint32_t index : pages) claimed[index] = false;
    return false;
}

}  // namespace holdfast::gateway
