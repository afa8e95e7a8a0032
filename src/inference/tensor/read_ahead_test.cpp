#include "inference/tensor/read_ahead.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "common/base/test_folder.h"
#include "inference/tensor/file_map.h"

namespace holdfast::tensor {
namespace {

using Bytes = ReadAhead::Bytes;

// A disk that notes what it was asked for, and by how much that was ahead of what was used.
class Disk {
public:
    void ask(Bytes bytes) {
        const std::lock_guard lock(mutex_);
        asked_.push_back(bytes);
        asked_bytes_ += bytes.size();
        if (asked_bytes_ > used_bytes_)
            ahead_bytes_max_ = std::max(ahead_bytes_max_, asked_bytes_ - used_bytes_);
        changed_.notify_all();
    }
    void use(ReadAhead& ahead, std::size_t bytes) {
        {
            const std::lock_guard lock(mutex_);
            used_bytes_ += bytes;
        }
        ahead.used(bytes);
    }
    void await(std::size_t bytes) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return asked_bytes_ >= bytes; });
    }
    std::size_t ahead_bytes_max() {
        const std::lock_guard lock(mutex_);
        return ahead_bytes_max_;
    }
    std::vector<Bytes> asked() {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Bytes> asked_;
    std::size_t asked_bytes_ = 0, used_bytes_ = 0, ahead_bytes_max_ = 0;
};

TEST(ReadAhead, AsksInOrderAndNeverFurtherThanItsWindow) {
    constexpr std::size_t piece = ReadAhead::piece_bytes, window = 2 * piece;
    const std::vector<std::byte> file(5 * piece + 100);
    const std::vector<Bytes> order{Bytes(file).subspan(3 * piece), Bytes(file).first(3 * piece)};
    Disk disk;
    ReadAhead ahead(order, window, [&](Bytes bytes) { disk.ask(bytes); });
    disk.await(window);
    for (int i = 0; i < 4; ++i) disk.use(ahead, piece);
    disk.await(file.size());
    EXPECT_LE(disk.ahead_bytes_max(), window);
    const std::byte* expected = order[0].data();
    for (const Bytes bytes : disk.asked()) {
        if (bytes.data() == order[1].data()) expected = order[1].data();
        EXPECT_EQ(bytes.data(), expected);
        EXPECT_LE(bytes.size(), piece);
        expected += bytes.size();
    }
}

TEST(ReadAhead, EndsWhileItWaitsForBytesToBeUsed) {
    const std::vector<std::byte> file(4 * ReadAhead::piece_bytes);
    Disk disk;
    {
        const ReadAhead ahead({Bytes(file)}, ReadAhead::piece_bytes,
                              [&](Bytes bytes) { disk.ask(bytes); });
        disk.await(ReadAhead::piece_bytes);
    }
    EXPECT_EQ(disk.asked().size(), 1U);
}

TEST(ReadAhead, LeavesAMappedFileAsItIs) {
    const base::testing::TemporaryFolder folder;
    folder.write("file", std::string(100'000, 'x'));
    const auto map = FileMap::open(folder.path() + "/file");
    ASSERT_TRUE(map);
    {
        const ReadAhead ahead({map->bytes().subspan(1, 70'000), map->bytes().last(1), Bytes()});
    }
    for (const std::byte byte : map->bytes()) ASSERT_EQ(byte, std::byte{'x'});
}

}  // namespace
}  // namespace holdfast::tensor
