#include "tools/hub/part.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/base/test_folder.h"

namespace holdfast::hub {
namespace {

using base::testing::TemporaryFolder;

constexpr std::uint64_t size = 3 * block_bytes + 100;

std::vector<std::byte> content_of(std::uint64_t block) {
    const auto bytes = std::min(size - block * block_bytes, block_bytes);
    return std::vector<std::byte>(bytes, static_cast<std::byte>(block + 1));
}

Part opened(const TemporaryFolder& folder) {
    auto part = Part::open(folder.path() + "/x", size, nullptr);
    EXPECT_TRUE(part);
    return *std::move(part);
}

void write(Part& part, std::uint64_t block) { EXPECT_TRUE(part.write(block, content_of(block))); }

TEST(Part, TakesUpWhatWasWritten) {
    const TemporaryFolder folder;
    Part first = opened(folder);
    write(first, 1);
    write(first, 3);
    Part second = opened(folder);
    EXPECT_EQ(second.bytes_done(), block_bytes + 100);
    EXPECT_TRUE(second.has(1) && second.has(3));
    write(second, 0);
    write(second, 2);
    EXPECT_TRUE(second.complete());
    EXPECT_EQ(std::filesystem::file_size(second.data_path()), size);
}

TEST(Part, BelievesNoBlockThatDiffersFromItsHash) {
    const TemporaryFolder folder;
    Part first = opened(folder);
    write(first, 0);
    write(first, 1);
    std::fstream(first.data_path(), std::ios::in | std::ios::out | std::ios::binary)
        .seekp(5)
        .put('!');
    Part second = opened(folder);
    EXPECT_FALSE(second.has(0));
    EXPECT_TRUE(second.has(1));
    write(second, 0);
    EXPECT_TRUE(opened(folder).has(0)) << "the newer entry counts";
}

TEST(Part, SurvivesATornOrSenselessJournal) {
    const TemporaryFolder folder;
    write(*std::make_unique<Part>(opened(folder)), 2);
    std::ofstream(folder.path() + "/x.blocks", std::ios::app | std::ios::binary) << "torn";
    Part second = opened(folder);
    EXPECT_EQ(second.bytes_done(), block_bytes);
    write(second, 0);
    EXPECT_EQ(opened(folder).bytes_done(), 2 * block_bytes);

    folder.write("x.blocks", std::string(24 * 100, '\xff'));
    EXPECT_EQ(opened(folder).bytes_done(), 0U);
}

TEST(Part, GivesEveryBlockToOneOwner) {
    const TemporaryFolder folder;
    Part part = opened(folder);
    write(part, 1);
    const auto first = part.claim(8), second = part.claim(1), third = part.claim(8);
    ASSERT_TRUE(first && second && third);
    EXPECT_EQ(first->begin, 0U);
    EXPECT_EQ(first->end, 1U) << "a run ends where a block is there";
    EXPECT_EQ(second->begin, 2U);
    EXPECT_EQ(third->begin, 3U);
    EXPECT_FALSE(part.claim(8));
    part.release(*second);
    EXPECT_EQ(part.claim(8)->begin, 2U);
}

TEST(Part, EndsTheCheckWhenToldTo) {
    const TemporaryFolder folder;
    Part first = opened(folder);
    write(first, 0);
    const auto stopped = Part::open(folder.path() + "/x", size, [] { return true; });
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, base::Code::cancelled);
}

TEST(Part, OfNothingIsComplete) {
    const TemporaryFolder folder;
    const auto part = Part::open(folder.path() + "/empty", 0, nullptr);
    ASSERT_TRUE(part);
    EXPECT_TRUE(part->complete());
    EXPECT_TRUE(std::filesystem::exists(part->data_path()));
    part->remove();
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace holdfast::hub
