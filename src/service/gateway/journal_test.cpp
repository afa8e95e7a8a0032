#include "service/gateway/journal.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

namespace holdfast::gateway {
namespace {

template <std::size_t size>
struct MemoryOf {
    alignas(64) std::byte bytes[size];
};
using Memory = MemoryOf<64 * 1024>;
using SmallMemory = MemoryOf<16 * 1024>;

Journal::Opening opening(std::string_view body) {
    return {.request_id = "r", .path = "/p", .body = body, .answer_id = {}, .model = {}};
}

TEST(Journal, GivesBackRequestAndIdsPerChoiceInOrder) {
    Memory memory;
    Journal journal(memory.bytes, 4);
    const std::string body(5000, 'x');
    const auto id = journal.open(opening(body));
    ASSERT_TRUE(id);
    std::vector<chat::TokenId> first(1000), second{9, 8, 7};
    std::iota(first.begin(), first.end(), 0);
    ASSERT_TRUE(journal.append(*id, 0, 0, std::span(first).first(10)));
    ASSERT_TRUE(journal.append(*id, 0, 1, second));
    ASSERT_TRUE(journal.append(*id, 0, 0, std::span(first).subspan(10)));
    const auto delivered = journal.delivered(*id, 2);
    EXPECT_EQ(delivered[0], first);
    EXPECT_EQ(delivered[1], second);
    EXPECT_EQ(journal.body(*id), body);
    EXPECT_EQ(journal.count(*id), 1003);
    const auto events = journal.id_events(*id);
    ASSERT_EQ(events.size(), 3U);
    EXPECT_EQ(events[1].choice, 1U);
    EXPECT_EQ(events[1].ids, second);
    EXPECT_EQ(events[2].ids.size(), 990U);
}

TEST(Journal, RefusesIdsThatNoVocabularyHasAndKeepsWhatItHas) {
    Memory memory;
    Journal journal(memory.bytes, 1);
    const auto id = journal.open(opening("body"));
    ASSERT_TRUE(id);
    for (const chat::TokenId bad : {-1, 1 << 24, INT32_MAX}) {
        const std::vector<chat::TokenId> ids{3, bad};
        const auto refused = journal.append(*id, 0, 0, ids);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, base::Code::corrupt);
        EXPECT_EQ(refused.error().origin, base::Origin::instance);
    }
    const std::vector<chat::TokenId> ids{3};
    EXPECT_FALSE(journal.append(*id, 0, Journal::choices_max, ids));
    EXPECT_EQ(journal.count(*id), 0);
}

TEST(Journal, RefusesWhatAnEarlierAttemptStillSays) {
    Memory memory;
    Journal journal(memory.bytes, 1);
    const auto id = journal.open(opening("body"));
    ASSERT_TRUE(id);
    const std::vector<chat::TokenId> ids{3};
    journal.set_attempt(*id, 1);
    EXPECT_TRUE(journal.append(*id, 1, 0, ids));
    journal.set_attempt(*id, 2);
    EXPECT_FALSE(journal.append(*id, 1, 0, ids));
    EXPECT_FALSE(journal.append(*id, 1, "thinking", "answer"));
    EXPECT_TRUE(journal.append(*id, 2, 0, ids));
    EXPECT_EQ(journal.count(*id), 2);
    EXPECT_TRUE(journal.text_events(*id).empty());
}

TEST(Journal, ReturnsEverythingOnCloseAndWhatWasDeliveredWhenItIsForgotten) {
    Memory memory;
    Journal journal(memory.bytes, 2);
    const std::uint32_t free = journal.pages_free();
    for (int round = 0; round < 100; ++round) {
        const auto id = journal.open(opening(std::string(3000, 'b')));
        ASSERT_TRUE(id);
        const std::uint32_t opened = journal.pages_free();
        const std::vector<chat::TokenId> ids(600, 5);
        ASSERT_TRUE(journal.append(*id, 0, 0, ids));
        ASSERT_TRUE(journal.append(*id, 0, std::string(2000, 'r'), "c"));
        EXPECT_LT(journal.pages_free(), opened);
        journal.forget(*id);
        EXPECT_EQ(journal.pages_free(), opened);
        EXPECT_EQ(journal.count(*id), 0);
        ASSERT_TRUE(journal.append(*id, 0, 0, ids));
        EXPECT_EQ(journal.count(*id), 600);
        journal.close(*id);
        EXPECT_EQ(journal.pages_free(), free);
        EXPECT_EQ(journal.entries_open(), 0);
    }
}

TEST(Journal, RefusesWhenSlotsOrPagesRunOutAndKeepsWhatItHas) {
    Memory memory;
    Journal journal(memory.bytes, 1);
    const auto too_big = journal.open(opening(std::string(1 << 20, 'b')));
    ASSERT_FALSE(too_big);
    EXPECT_EQ(too_big.error().code, base::Code::overloaded);
    const auto id = journal.open(opening("body"));
    ASSERT_TRUE(id);
    EXPECT_FALSE(journal.open(opening("body")));

    const std::vector<chat::TokenId> ids{1, 2, 3};
    std::uint32_t appended = 0;
    while (journal.append(*id, 0, 0, ids)) appended += 3;
    EXPECT_GT(appended, 10'000);
    EXPECT_EQ(journal.count(*id), appended);
    EXPECT_EQ(journal.delivered(*id, 1)[0].size(), appended);
    journal.close(*id);
    EXPECT_TRUE(journal.open(opening("body")));
}

// Two exchanges, as a gateway that died may leave them.
Journal two_exchanges(SmallMemory& memory) {
    Journal journal(memory.bytes, 4);
    const std::string request_id(Journal::request_id_bytes_max, 'i');
    const std::string body(3000, 'b');
    const auto ids_told =
        *journal.open({.request_id = request_id,
                       .path = "/v1/chat/completions",
                       .body = body,
                       .answer_id = "chatcmpl-1",
                       .model = "tiny-r1",
                       .created = 1'700'000'000,
                       .seed = 77,
                       .deadline = base::Deadline(base::Instant(base::Duration(99)))});
    journal.set_attempt(ids_told, 3);
    EXPECT_TRUE(journal.set_fingerprint(ids_told, "F"));
    journal.set_framing(ids_told, http::Framing::chunked);
    journal.set_sent(ids_told, {.answer = 10, .wire = 210, .under_way = 5});
    const std::vector<chat::TokenId> ids(300, 6);
    EXPECT_TRUE(journal.append(ids_told, 3, 0, ids));
    const auto text_told = *journal.open(opening("second"));
    EXPECT_TRUE(journal.append(text_told, 0, std::string(1500, 'r'), ""));
    EXPECT_TRUE(journal.append(text_told, 0, "", "answer"));
    return journal;
}

TEST(Journal, IsTakenOverWithAllThatASuccessorNeeds) {
    SmallMemory memory;
    const std::uint32_t free = two_exchanges(memory).pages_free();
    auto taken = Journal::attach(memory.bytes);
    ASSERT_TRUE(taken);
    Journal& journal = *taken;
    EXPECT_EQ(journal.pages_free(), free);
    const auto entries = journal.entries();
    ASSERT_EQ(entries.size(), 2U);
    const auto id = entries[0];
    EXPECT_EQ(journal.request_id(id), std::string(128, 'i'));
    EXPECT_EQ(journal.path(id), "/v1/chat/completions");
    EXPECT_EQ(journal.body(id), std::string(3000, 'b'));
    EXPECT_EQ(journal.answer_id(id), "chatcmpl-1");
    EXPECT_EQ(journal.model(id), "tiny-r1");
    EXPECT_EQ(journal.created(id), 1'700'000'000);
    EXPECT_EQ(journal.seed(id), 77U);
    EXPECT_EQ(journal.deadline(id).at(), base::Instant(base::Duration(99)));
    EXPECT_EQ(journal.fingerprint(id), "F");
    EXPECT_EQ(journal.framing(id), http::Framing::chunked);
    EXPECT_EQ(journal.sent(id), (Journal::Sent{10, 210, 5}));
    const auto text = journal.text_events(entries[1]);
    ASSERT_EQ(text.size(), 2U);
    EXPECT_EQ(text[0].reasoning, std::string(1500, 'r'));
    EXPECT_EQ(text[1].content, "answer");

    // It goes on where it ended, and gives everything back.
    const std::vector<chat::TokenId> more{7, 8};
    EXPECT_FALSE(journal.append(id, 2, 0, more));
    ASSERT_TRUE(journal.append(id, 3, 0, more));
    EXPECT_EQ(journal.delivered(id, 1)[0].size(), 302U);
    EXPECT_EQ(journal.delivered(id, 1)[0].back(), 8);
    for (const auto entry : entries) journal.close(entry);
    EXPECT_EQ(journal.pages_free(), journal.pages_total());
}

TEST(Journal, TakesNoMemoryForAJournalThatIsNone) {
    SmallMemory memory{};
    EXPECT_FALSE(Journal::attach(memory.bytes));
    EXPECT_FALSE(Journal::attach(std::span(memory.bytes).first(8)));
    two_exchanges(memory);
    EXPECT_FALSE(Journal::attach(std::span(memory.bytes).first(1024)));
}

// Every word of the header, the table and the pages' links, replaced by what may hurt most.
TEST(Journal, TrustsNoWordOfWhatItTakesOver) {
    SmallMemory sound;
    two_exchanges(sound);
    for (std::size_t at = 0; at + 4 <= sizeof sound.bytes; at += 4) {
        for (const std::uint32_t word : {0U, 1U, 2U, 1020U, 0x7FFF'FFFFU, UINT32_MAX}) {
            SmallMemory memory = sound;
            std::memcpy(memory.bytes + at, &word, sizeof word);
            auto journal = Journal::attach(memory.bytes);
            if (!journal) continue;
            for (const auto id : journal->entries()) {
                const std::size_t held = journal->body(id).size() + journal->path(id).size() +
                                         journal->request_id(id).size() +
                                         journal->answer_id(id).size() + journal->model(id).size();
                EXPECT_LT(held, sizeof sound.bytes);
                EXPECT_EQ(journal->delivered(id, 1).size(), 1U);
                EXPECT_LE(journal->id_events(id).size(), journal->count(id));
                EXPECT_LE(journal->text_events(id).size(), sizeof sound.bytes);
                const std::vector<chat::TokenId> ids{5};
                (void)journal->append(id, 3, 0, ids);
                journal->close(id);
            }
            EXPECT_EQ(journal->pages_free(), journal->pages_total()) << at << " " << word;
            EXPECT_EQ(journal->entries_open(), 0U);
        }
    }
}

}  // namespace
}  // namespace holdfast::gateway
