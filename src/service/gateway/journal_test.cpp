#include "service/gateway/journal.h"

#include <gtest/gtest.h>

#include <numeric>

namespace holdfast::gateway {
namespace {

struct Memory {
    alignas(64) std::byte bytes[64 * 1024];
};

TEST(Journal, GivesBackRequestAndIdsPerChoiceInOrder) {
    Memory memory;
    Journal journal(memory.bytes, 4);
    const std::string body(5000, 'x');
    const auto id = journal.open("req-1", 7, "/v1/chat/completions", body);
    ASSERT_TRUE(id);
    std::vector<chat::TokenId> first(1000), second{9, 8, 7};
    std::iota(first.begin(), first.end(), 0);
    ASSERT_TRUE(journal.append(*id, 0, std::span(first).first(10)));
    ASSERT_TRUE(journal.append(*id, 1, second));
    ASSERT_TRUE(journal.append(*id, 0, std::span(first).subspan(10)));
    const auto delivered = journal.delivered(*id, 2);
    EXPECT_EQ(delivered[0], first);
    EXPECT_EQ(delivered[1], second);
    EXPECT_EQ(journal.body(*id), body);
    EXPECT_EQ(journal.count(*id), 1003);
}

TEST(Journal, RefusesIdsThatNoVocabularyHasAndKeepsWhatItHas) {
    Memory memory;
    Journal journal(memory.bytes, 1);
    const auto id = journal.open("r", 0, "/p", "body");
    ASSERT_TRUE(id);
    for (const chat::TokenId bad : {-1, 1 << 24, INT32_MAX}) {
        const std::vector<chat::TokenId> ids{3, bad};
        const auto refused = journal.append(*id, 0, ids);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, base::Code::corrupt);
        EXPECT_EQ(refused.error().origin, base::Origin::instance);
    }
    EXPECT_EQ(journal.count(*id), 0);
}

TEST(Journal, ReturnsEverythingOnClose) {
    Memory memory;
    Journal journal(memory.bytes, 2);
    const std::uint32_t free = journal.pages_free();
    for (int round = 0; round < 100; ++round) {
        const auto id = journal.open("r", round, "/p", std::string(3000, 'b'));
        ASSERT_TRUE(id);
        const std::vector<chat::TokenId> ids(600, 5);
        ASSERT_TRUE(journal.append(*id, 0, ids));
        EXPECT_LT(journal.pages_free(), free);
        journal.close(*id);
        EXPECT_EQ(journal.pages_free(), free);
        EXPECT_EQ(journal.entries_open(), 0);
    }
}

TEST(Journal, RefusesWhenSlotsOrPagesRunOutAndKeepsWhatItHas) {
    Memory memory;
    Journal journal(memory.bytes, 1);
    const auto too_big = journal.open("r", 0, "/p", std::string(1 << 20, 'b'));
    ASSERT_FALSE(too_big);
    EXPECT_EQ(too_big.error().code, base::Code::overloaded);
    const auto id = journal.open("r", 0, "/p", "body");
    ASSERT_TRUE(id);
    EXPECT_FALSE(journal.open("r", 0, "/p", "body"));

    const std::vector<chat::TokenId> ids{1, 2, 3};
    std::uint32_t appended = 0;
    while (journal.append(*id, 0, ids)) appended += 3;
    EXPECT_GT(appended, 10'000);
    EXPECT_EQ(journal.count(*id), appended);
    EXPECT_EQ(journal.delivered(*id, 1)[0].size(), appended);
    journal.close(*id);
    EXPECT_TRUE(journal.open("r", 0, "/p", "body"));
}

}  // namespace
}  // namespace holdfast::gateway
