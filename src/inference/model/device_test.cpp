#include "inference/model/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "inference/model/random.h"
#include "inference/model/test_checkpoint.h"

namespace holdfast::model {
namespace {

using ::testing::HasSubstr;

TEST(Device, IsOpenedByTheNameThatItGives) {
    const auto device = open_device("cpu");
    ASSERT_TRUE(device) << device.error().what;
    EXPECT_EQ((*device)->name(), "cpu");
    EXPECT_FALSE((*device)->info("")->product.empty());
    EXPECT_EQ((*device)->info("scalar")->kernels, "scalar");
    EXPECT_FALSE((*device)->info("scalar")->has_integer_kernels);
    EXPECT_THAT((*device)->info("mmx").error().what, HasSubstr("mmx"));
}

TEST(Device, OfNoKnownKindIsRefusedWithTheKindsThatThereAre) {
    for (const char* const bad : {"", "CPU", "cuda", "tpu:0", "gpu-1"}) {
        const auto device = open_device(bad);
        ASSERT_FALSE(device) << bad;
        EXPECT_EQ(device.error().code, base::Code::invalid) << bad;
        EXPECT_THAT(device.error().what, HasSubstr("cuda:N"));
    }
}

TEST(Processor, CountsTheCacheByTokensAndTypes) {
    const auto here = processor();
    const tensor::Config config = *find_shape("r1-1.5b");
    const auto bytes = [&](tensor::KvType type) {
        return here->cache_bytes(config, type, 2'048 / block_tokens);
    };
    EXPECT_EQ(bytes(tensor::KvType::f32), std::size_t{2'048} * 57'344);
    EXPECT_EQ(bytes(tensor::KvType::bf16), std::size_t{2'048} * 28'672);
    EXPECT_LT(bytes(tensor::KvType::q8), bytes(tensor::KvType::bf16));
}

TEST(Processor, CountsWhatAStepWorksInByItsTokensAndNotByTheCache) {
    const auto here = processor();
    const tensor::Config config = test_config();
    LoadOptions small{.kv_tokens = 64, .batch_tokens_max = 16};
    LoadOptions large = small;
    large.kv_tokens = 1U << 20;
    EXPECT_EQ(here->working_bytes(config, small), here->working_bytes(config, large));
    large.batch_tokens_max = 4'096;
    EXPECT_LT(here->working_bytes(config, small), here->working_bytes(config, large));
}

TEST(Processor, MeasuresItself) {
    const auto here = processor();
    const auto meter = here->make_meter({.threads = 2});
    ASSERT_TRUE(meter) << meter.error().what;
    EXPECT_GT(*(*meter)->bandwidth(), 0);
    const auto scalar = here->make_meter({.threads = 1, .isa = "scalar"});
    ASSERT_TRUE(scalar);
    EXPECT_FALSE((*scalar)->peak());
    EXPECT_FALSE(here->make_meter({.threads = 0}));
}

// Without CUDA, or with it on a machine without a card: the reason is said, nothing is made.
TEST(Device, ThatIsNotThereIsUnavailableWithAReason) {
    const auto device = open_device("cuda:77");
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().code, base::Code::unavailable);
    EXPECT_THAT(device.error().what, HasSubstr("cuda:77"));
}

}  // namespace
}  // namespace holdfast::model
