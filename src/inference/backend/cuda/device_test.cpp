#include "inference/backend/cuda/device.h"

#include <gtest/gtest.h>

#include "inference/backend/cuda/test_device.h"

namespace holdfast::cuda {
namespace {

TEST(Device, SaysWhyThereIsNone) {
    const auto found = devices();
    if (found) GTEST_SKIP() << "there is a CUDA device";
    EXPECT_EQ(found.error().code, base::Code::unavailable);
    EXPECT_FALSE(found.error().what.empty());
    EXPECT_EQ(open_device(0).error().what, found.error().what);
}

TEST(Device, NamesTheDevicesThatThereAre) {
    HF_NEEDS_DEVICE();
    const auto all = devices();
    ASSERT_TRUE(all);
    EXPECT_EQ(all->front().uuid.size(), 40);
    EXPECT_GE(all->front().major, 8);
    const auto missing = open_device(static_cast<std::uint32_t>(all->size()));
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, base::Code::invalid);
    EXPECT_NE(missing.error().what.find("cuda:0"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cuda
