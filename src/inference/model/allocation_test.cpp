// A forward allocates nothing: all memory is reserved before the model is ready.
#include <gtest/gtest.h>

#include "common/base/test_allocations.h"
#include "inference/model/model.h"
#include "inference/model/random.h"
#include "inference/model/test_checkpoint.h"

namespace holdfast::model {
namespace {

using base::testing::allocations;
using tensor::DataType;

TEST(Forward, AllocatesNothing) {
    tensor::Config config = test_config();
    config.hidden = config.ffn = 256;
    config.heads = 8;
    for (const bool tied : {false, true})
        for (const DataType type : {DataType::bf16, DataType::q8_0, DataType::q4_k})
            for (const tensor::KvType kv_type : tensor::all_kv_types) {
                config.tied_head = tied;
                auto model = random_model(
                    config, type,
                    {.threads = 2, .kv_tokens = 256, .batch_tokens_max = 64, .kv_type = kv_type});
                ASSERT_TRUE(model) << model.error().what;
                const std::vector<chat::TokenId> prompt(50, 7);
                const std::vector<BlockId> first{0, 1, 2, 3}, second{4, 5, 6, 7};
                const Slice prefill[] = {{prompt, 0, first, 1}};
                const Slice mixed[] = {{std::span(prompt).first(1), 50, first, 1},
                                       {std::span(prompt).first(20), 0, second, 3}};
                const std::size_t before = allocations;
                (*model)->forward(prefill);
                (*model)->forward(mixed);
                (*model)->forward(std::span(mixed).first(1));
                EXPECT_EQ(allocations - before, 0U) << tensor::name(type) << (tied ? ", tied" : "");
            }
}

}  // namespace
}  // namespace holdfast::model
