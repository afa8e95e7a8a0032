#include "service/gateway/journal.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "common/base/assert.h"

namespace holdfast::gateway {

namespace {
constexpr std::uint64_t journal_magic = 0x31304A5446444C48;  // "HLDFTJ01"
}

Journal::Journal(std::span<std::byte> memory, std::uint32_t entries) : memory_(memory) {
    pages_offset_ = sizeof(Header) + entries * sizeof(Entry);
    pages_offset_ = (pages_offset_ + 63) / 64 * 64;
    HF_ASSERT(memory.size() > pages_offset_ + page_bytes);
    const auto pages = static_cast<std::uint32_t>((memory.size() - pages_offset_) / page_bytes);
    header() = {journal_magic, entries, pages, 0, 0, pages, 0};
    for (std::uint32_t i = 0; i < entries; ++i) {
        entry(i) = {};
        entry(i).next_free = i + 1 < entries ? i + 1 : none;
    }
    for (std::uint32_t i = 0; i < pages; ++i) page(i).next = i + 1 < pages ? i + 1 : none;
}

Journal::Header& Journal::header() const { return *reinterpret_cast<Header*>(memory_.data()); }

Journal::Entry& Journal::entry(EntryId id) const {
    return reinterpret_cast<Entry*>(memory_.data() + sizeof(Header))[id];
}

Journal::Page& Journal::page(std::uint32_t index) const {
    return reinterpret_cast<Page*>(memory_.data() + pages_offset_)[index];
}

std::uint32_t Journal::pages_free() const { return header().pages_free; }
std::uint32_t Journal::pages_total() const { return header().pages; }
std::uint32_t Journal::entries_open() const { return header().entries_open; }

std::uint32_t Journal::take_page() {
    Header& head = header();
    const std::uint32_t index = head.free_page;
    if (index == none) return none;
    head.free_page = page(index).next;
    --head.pages_free;
    page(index).next = none;
    return index;
}

void Journal::free_chain(std::uint32_t first) {
    Header& head = header();
    while (first != none) {
        const std::uint32_t next = page(first).next;
        page(first).next = head.free_page;
        head.free_page = first;
        ++head.pages_free;
        first = next;
    }
}

base::Result<> Journal::write_text(Entry& entry, std::string_view path, std::string_view body) {
    const std::size_t total = path.size() + body.size();
    if (total > static_cast<std::size_t>(pages_free()) * payload_bytes)
        return base::fail(base::Code::overloaded, "the journal has no room for this request");
    entry.path_bytes = static_cast<std::uint32_t>(path.size());
    entry.text_bytes = static_cast<std::uint32_t>(total);
    std::uint32_t last = none;
    std::size_t room = 0;
    for (std::string_view part : {path, body}) {
        while (!part.empty()) {
            if (room == 0) {
                const std::uint32_t index = take_page();
                (last == none ? entry.text_first : page(last).next) = index;
                last = index;
                room = payload_bytes;
            }
            const std::size_t piece = std::min(room, part.size());
            std::memcpy(page(last).payload + (payload_bytes - room), part.data(), piece);
            part.remove_prefix(piece);
            room -= piece;
        }
    }
    return {};
}

base::Result<Journal::EntryId> Journal::open(std::string_view request_id, std::uint64_t seed,
                                             std::string_view path, std::string_view body) {
    Header& head = header();
    const EntryId id = head.free_entry;
    if (id == none) return base::fail(base::Code::overloaded, "too many requests are in flight");
    Entry& slot = entry(id);
    const std::uint32_t next_free = slot.next_free;
    slot = {};
    slot.next_free = next_free;
    slot.text_first = slot.record_first = slot.record_last = none;
    slot.seed = seed;
    const std::size_t id_bytes = std::min(request_id.size(), sizeof slot.request_id - 1);
    std::memcpy(slot.request_id, request_id.data(), id_bytes);
    HF_TRY(write_text(slot, path, body));
    head.free_entry = next_free;
    ++head.entries_open;
    slot.in_use = 1;
    return id;
}

void Journal::close(EntryId id) {
    Header& head = header();
    Entry& slot = entry(id);
    HF_ASSERT(slot.in_use == 1);
    slot.in_use = 0;
    free_chain(slot.text_first);
    free_chain(slot.record_first);
    slot.next_free = head.free_entry;
    head.free_entry = id;
    --head.entries_open;
}

base::Result<> Journal::append(EntryId id, std::uint32_t choice,
                               std::span<const chat::TokenId> ids) {
    Entry& slot = entry(id);
    HF_ASSERT(slot.in_use == 1 && choice < 256);
    for (const chat::TokenId token : ids)
        if (token < 0 || token >= chat::token_ids_max)
            return std::unexpected(base::Error{base::Code::corrupt,
                                               "the instance named an id that no vocabulary has",
                                               base::Origin::instance, base::Retry::elsewhere});
    std::uint32_t count = slot.record_count;
    const auto pages_for = [](std::size_t records) {
        return (records + records_per_page - 1) / records_per_page;
    };
    if (pages_for(count + ids.size()) - pages_for(count) > pages_free())
        return base::fail(base::Code::overloaded, "the journal's memory is used up");
    for (const chat::TokenId token : ids) {
        const std::uint32_t offset = count % records_per_page;
        if (offset == 0) {
            const std::uint32_t index = take_page();
            (slot.record_last == none ? slot.record_first : page(slot.record_last).next) = index;
            slot.record_last = index;
        }
        const std::uint32_t record = choice << 24 | static_cast<std::uint32_t>(token);
        std::memcpy(page(slot.record_last).payload + offset * sizeof record, &record,
                    sizeof record);
        ++count;
    }
    std::atomic_ref(slot.record_count).store(count, std::memory_order_release);
    return {};
}

void Journal::set_attempt(EntryId id, std::uint32_t attempt) { entry(id).attempt = attempt; }

std::uint32_t Journal::count(EntryId id) const { return entry(id).record_count; }

std::vector<std::vector<chat::TokenId>> Journal::delivered(EntryId id,
                                                           std::uint32_t choices) const {
    std::vector<std::vector<chat::TokenId>> ids(choices);
    const Entry& slot = entry(id);
    std::uint32_t index = slot.record_first;
    for (std::uint32_t i = 0; i < slot.record_count; ++i) {
        const std::uint32_t offset = i % records_per_page;
        if (i != 0 && offset == 0) index = page(index).next;
        std::uint32_t record = 0;
        std::memcpy(&record, page(index).payload + offset * sizeof record, sizeof record);
        HF_ASSERT(record >> 24 < choices);
        ids[record >> 24].push_back(static_cast<chat::TokenId>(record & 0xFFFFFF));
    }
    return ids;
}

std::string Journal::body(EntryId id) const {
    const Entry& slot = entry(id);
    std::string text;
    for (std::uint32_t index = slot.text_first; index != none && text.size() < slot.text_bytes;
         index = page(index).next)
        text.append(reinterpret_cast<const char*>(page(index).payload),
                    std::min(payload_bytes, slot.text_bytes - text.size()));
    return text.substr(slot.path_bytes);
}

}  // namespace holdfast::gateway
