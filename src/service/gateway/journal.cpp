#include "service/gateway/journal.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "common/base/assert.h"

namespace holdfast::gateway {

namespace {

std::unexpected<base::Error> corrupt(std::string what, base::Origin origin) {
    return std::unexpected(
        base::Error{base::Code::corrupt, std::move(what), origin, base::Retry::elsewhere});
}

std::string_view bytes_of(const std::uint32_t& number) {
    return {reinterpret_cast<const char*>(&number), sizeof number};
}

void commit(std::uint32_t& size, std::size_t bytes) {
    std::atomic_ref(size).store(static_cast<std::uint32_t>(bytes), std::memory_order_release);
}

}  // namespace

Journal::Journal(std::span<std::byte> memory, std::uint32_t entries) : memory_(memory) {
    HF_ASSERT(memory.size() > pages_offset(entries) + page_bytes);
    header() = {format, entries,
                static_cast<std::uint32_t>((memory.size() - pages_offset(entries)) / page_bytes)};
    lay_out();
    for (std::uint32_t i = entries; i-- > 0;) {
        entry(i).in_use = 0;
        free_entries_.push_back(i);
    }
    for (std::uint32_t i = header().pages; i-- > 0;) free_pages_.push_back(i);
}

void Journal::lay_out() {
    pages_offset_ = pages_offset(header().entries);
    free_entries_.reserve(header().entries);
    free_pages_.reserve(header().pages);
    tails_.resize(header().entries);
}

std::size_t Journal::pages_offset(std::size_t entries) {
    return (sizeof(Header) + entries * sizeof(Entry) + 63) / 64 * 64;
}

Journal::Header& Journal::header() const { return *reinterpret_cast<Header*>(memory_.data()); }

Journal::Entry& Journal::entry(EntryId id) const {
    return reinterpret_cast<Entry*>(memory_.data() + sizeof(Header))[id];
}

const Journal::Entry& Journal::used_entry(EntryId id) const {
    HF_ASSERT(id < header().entries && entry(id).in_use == 1);
    return entry(id);
}

Journal::Page& Journal::page(std::uint32_t index) const {
    return reinterpret_cast<Page*>(memory_.data() + pages_offset_)[index];
}

bool Journal::has_room(const Chain& chain, std::size_t bytes) const {
    const std::size_t size = std::size_t{chain.bytes} + bytes;
    return size <= UINT32_MAX && pages_for(size) - pages_for(chain.bytes) <= free_pages_.size();
}

void Journal::put(Chain& chain, std::size_t at, std::uint32_t& tail, std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t offset = at % payload_bytes;
        if (offset == 0) {
            const std::uint32_t index = free_pages_.back();
            free_pages_.pop_back();
            page(index).next = none;
            (tail == none ? chain.first : page(tail).next) = index;
            tail = index;
        }
        const std::size_t piece = std::min(payload_bytes - offset, bytes.size());
        std::memcpy(page(tail).payload + offset, bytes.data(), piece);
        bytes.remove_prefix(piece);
        at += piece;
    }
}

void Journal::release(const Chain& chain) {
    std::uint32_t index = chain.first;
    for (std::size_t left = pages_for(chain.bytes); left > 0; --left) {
        free_pages_.push_back(index);
        index = page(index).next;
    }
}

std::string Journal::read(const Chain& chain, std::size_t from, std::size_t bytes) const {
    std::string text;
    text.reserve(bytes);
    std::uint32_t index = chain.first;
    for (std::size_t at = 0; text.size() < bytes; at += payload_bytes, index = page(index).next) {
        if (at + payload_bytes <= from) continue;
        const std::size_t skipped = from > at ? from - at : 0;
        text.append(reinterpret_cast<const char*>(page(index).payload) + skipped,
                    std::min(payload_bytes - skipped, bytes - text.size()));
    }
    return text;
}

base::Result<Journal::EntryId> Journal::open(const Opening& opening) {
    HF_ASSERT(opening.request_id.size() <= request_id_bytes_max);
    if (free_entries_.empty())
        return base::fail(base::Code::overloaded, "too many requests are in flight");
    const std::array parts{opening.request_id, opening.path, opening.answer_id, opening.model,
                           opening.body};
    std::size_t bytes = 0;
    for (const std::string_view text : parts) bytes += text.size();
    if (!has_room({}, bytes))
        return base::fail(base::Code::overloaded, "the journal has no room for this request");
    const EntryId id = free_entries_.back();
    free_entries_.pop_back();
    Entry& slot = entry(id);
    slot = {};
    slot.text.first = slot.ids.first = slot.said.first = none;
    slot.request_id_bytes = static_cast<std::uint32_t>(opening.request_id.size());
    slot.path_bytes = static_cast<std::uint32_t>(opening.path.size());
    slot.answer_id_bytes = static_cast<std::uint32_t>(opening.answer_id.size());
    slot.model_bytes = static_cast<std::uint32_t>(opening.model.size());
    std::uint32_t tail = none;
    for (std::size_t at = 0; const std::string_view text : parts) {
        put(slot.text, at, tail, text);
        at += text.size();
    }
    slot.text.bytes = static_cast<std::uint32_t>(bytes);
    slot.seed = opening.seed;
    slot.created = opening.created;
    slot.deadline = opening.deadline.at().time_since_epoch().count();
    tails_[id] = {};
    std::atomic_ref(slot.in_use).store(1, std::memory_order_release);
    return id;
}

void Journal::close(EntryId id) {
    used_entry(id);
    Entry& slot = entry(id);
    std::atomic_ref(slot.in_use).store(0, std::memory_order_release);
    for (const Chain& chain : {slot.text, slot.ids, slot.said}) release(chain);
    free_entries_.push_back(id);
}

void Journal::set_attempt(EntryId id, std::uint32_t attempt) { entry(id).attempt = attempt; }

base::Result<> Journal::append(EntryId id, std::uint32_t attempt, std::uint32_t choice,
                               std::span<const chat::TokenId> ids) {
    used_entry(id);
    Entry& slot = entry(id);
    if (attempt != slot.attempt)
        return corrupt("an attempt that was given up still speaks", base::Origin::self);
    if (choice >= choices_max)
        return corrupt("the instance named a choice that no answer has", base::Origin::instance);
    for (const chat::TokenId token : ids)
        if (token < 0 || token >= chat::token_ids_max)
            return corrupt("the instance named an id that no vocabulary has",
                           base::Origin::instance);
    if (!has_room(slot.ids, ids.size() * sizeof(std::uint32_t)))
        return base::fail(base::Code::overloaded, "the journal's memory is used up");
    std::size_t at = slot.ids.bytes;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const std::uint32_t end = i + 1 == ids.size() ? ends_event : 0;
        const std::uint32_t record = end | choice << 24 | static_cast<std::uint32_t>(ids[i]);
        put(slot.ids, at, tails_[id].ids, bytes_of(record));
        at += sizeof record;
    }
    commit(slot.ids.bytes, at);
    return {};
}

base::Result<> Journal::append(EntryId id, std::uint32_t attempt, std::string_view reasoning,
                               std::string_view content) {
    used_entry(id);
    Entry& slot = entry(id);
    if (attempt != slot.attempt)
        return corrupt("an attempt that was given up still speaks", base::Origin::self);
    const auto reasoning_bytes = static_cast<std::uint32_t>(reasoning.size());
    const auto content_bytes = static_cast<std::uint32_t>(content.size());
    if (!has_room(slot.said, 8 + reasoning.size() + content.size()))
        return base::fail(base::Code::overloaded, "the journal's memory is used up");
    std::size_t at = slot.said.bytes;
    for (const std::string_view part :
         {bytes_of(reasoning_bytes), bytes_of(content_bytes), reasoning, content}) {
        put(slot.said, at, tails_[id].said, part);
        at += part.size();
    }
    commit(slot.said.bytes, at);
    return {};
}

void Journal::forget(EntryId id) {
    used_entry(id);
    for (Chain* chain : {&entry(id).ids, &entry(id).said}) {
        const Chain old = *chain;
        commit(chain->bytes, 0);
        release(old);
    }
    tails_[id] = {};
}

bool Journal::set_fingerprint(EntryId id, std::string_view fingerprint) {
    if (fingerprint.size() > fingerprint_bytes_max) return false;
    Entry& slot = entry(id);
    std::ranges::copy(fingerprint, slot.fingerprint);
    slot.fingerprint_bytes = static_cast<std::uint8_t>(fingerprint.size());
    return true;
}

void Journal::set_framing(EntryId id, http::Framing framing) {
    entry(id).framing = static_cast<std::uint8_t>(framing);
}

void Journal::set_sent(EntryId id, const Sent& sent) { entry(id).sent = sent; }

std::vector<Journal::EntryId> Journal::entries() const {
    std::vector<EntryId> used;
    for (EntryId id = 0; id < header().entries; ++id)
        if (entry(id).in_use == 1) used.push_back(id);
    return used;
}

std::string Journal::request_id(EntryId id) const {
    return read(entry(id).text, 0, entry(id).request_id_bytes);
}
std::string Journal::path(EntryId id) const {
    return read(entry(id).text, entry(id).request_id_bytes, entry(id).path_bytes);
}
std::string Journal::answer_id(EntryId id) const {
    const Entry& slot = entry(id);
    return read(slot.text, slot.request_id_bytes + slot.path_bytes, slot.answer_id_bytes);
}
std::string Journal::model(EntryId id) const {
    const Entry& slot = entry(id);
    return read(slot.text, slot.request_id_bytes + slot.path_bytes + slot.answer_id_bytes,
                slot.model_bytes);
}
std::string Journal::body(EntryId id) const {
    const Entry& slot = entry(id);
    const std::size_t before =
        slot.request_id_bytes + slot.path_bytes + slot.answer_id_bytes + slot.model_bytes;
    return read(slot.text, before, slot.text.bytes - before);
}

std::int64_t Journal::created(EntryId id) const { return entry(id).created; }
std::uint64_t Journal::seed(EntryId id) const { return entry(id).seed; }
base::Deadline Journal::deadline(EntryId id) const {
    return base::Deadline(base::Instant(base::Duration(entry(id).deadline)));
}
std::string_view Journal::fingerprint(EntryId id) const {
    return {entry(id).fingerprint, entry(id).fingerprint_bytes};
}
http::Framing Journal::framing(EntryId id) const {
    return static_cast<http::Framing>(entry(id).framing);
}
Journal::Sent Journal::sent(EntryId id) const { return entry(id).sent; }

std::uint32_t Journal::count(EntryId id) const {
    return entry(id).ids.bytes / sizeof(std::uint32_t);
}

template <class Function>
void Journal::each_record(EntryId id, Function function) const {
    const Chain& chain = entry(id).ids;
    std::uint32_t index = chain.first;
    for (std::size_t at = 0; at < chain.bytes; at += sizeof(std::uint32_t)) {
        if (at != 0 && at % payload_bytes == 0) index = page(index).next;
        std::uint32_t record = 0;
        std::memcpy(&record, page(index).payload + at % payload_bytes, sizeof record);
        function(record >> 24 & (choices_max - 1), static_cast<chat::TokenId>(record & 0xFFFFFF),
                 (record & ends_event) != 0);
    }
}

std::vector<std::vector<chat::TokenId>> Journal::delivered(EntryId id,
                                                           std::uint32_t choices) const {
    std::vector<std::vector<chat::TokenId>> ids(choices);
    each_record(id, [&](std::uint32_t choice, chat::TokenId token, bool) {
        if (choice < choices) ids[choice].push_back(token);
    });
    return ids;
}

std::vector<Journal::Ids> Journal::id_events(EntryId id) const {
    std::vector<Ids> events;
    bool begun = false;
    each_record(id, [&](std::uint32_t choice, chat::TokenId token, bool ends) {
        if (!begun) events.push_back({choice, {}});
        events.back().ids.push_back(token);
        begun = !ends;
    });
    return events;
}

std::vector<Journal::Text> Journal::text_events(EntryId id) const {
    std::vector<Text> events;
    const std::string said = read(entry(id).said, 0, entry(id).said.bytes);
    for (std::size_t at = 0; at < said.size();) {
        std::uint32_t sizes[2];
        std::memcpy(sizes, said.data() + at, sizeof sizes);
        at += sizeof sizes;
        events.push_back({said.substr(at, sizes[0]), said.substr(at + sizes[0], sizes[1])});
        at += std::size_t{sizes[0]} + sizes[1];
    }
    return events;
}

}  // namespace holdfast::gateway
