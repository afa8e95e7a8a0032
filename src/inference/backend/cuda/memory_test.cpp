#include "inference/backend/cuda/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "inference/backend/cuda/test_device.h"

namespace holdfast::cuda {
namespace {

TEST(DeviceMemory, BeginsAsZerosAndKeepsWhatIsWritten) {
    HF_NEEDS_DEVICE();
    auto memory = DeviceMemory::reserve(1 << 20);
    ASSERT_TRUE(memory) << memory.error().what;
    std::vector<std::byte> bytes(1 << 20, std::byte{1});
    ASSERT_TRUE(memory->read(0, bytes));
    EXPECT_EQ(std::ranges::count(bytes, std::byte{0}), 1 << 20);
    ASSERT_TRUE(memory->write(100, std::vector<std::byte>(50, std::byte{7})));
    ASSERT_TRUE(memory->read(0, bytes));
    EXPECT_EQ(std::ranges::count(bytes, std::byte{7}), 50);
    EXPECT_EQ(bytes[149], std::byte{7});
}

TEST(DeviceMemory, SaysHowMuchThereIsWhenItIsNotEnough) {
    HF_NEEDS_DEVICE();
    const auto memory = DeviceMemory::reserve(std::size_t{1} << 50);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().code, base::Code::overloaded);
    EXPECT_NE(memory.error().what.find("MB free"), std::string::npos);
    EXPECT_TRUE(DeviceMemory::reserve(4096)) << "the device works on";
}

}  // namespace
}  // namespace holdfast::cuda
