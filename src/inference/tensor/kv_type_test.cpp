#include "inference/tensor/kv_type.h"

#include <gtest/gtest.h>

namespace holdfast::tensor {
namespace {

TEST(KvType, IsFoundByItsNameAndByNoOther) {
    for (const KvType type : all_kv_types) EXPECT_EQ(find_kv_type(name(type)), type);
    EXPECT_EQ(find_kv_type("f16"), std::nullopt);
    EXPECT_EQ(find_kv_type(""), std::nullopt);
}

}  // namespace
}  // namespace holdfast::tensor
