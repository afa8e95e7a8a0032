#include "common/cores/cpu_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::cores {
namespace {

using testing::HasSubstr;

TEST(CpuList, ReadsNumbersAndRangesInAnyOrder) {
    EXPECT_EQ(*parse_cpu_list("5"), CpuSet{5});
    EXPECT_EQ(*parse_cpu_list("8,0-3"), (CpuSet{0, 1, 2, 3, 8}));
    EXPECT_EQ(*parse_cpu_list("2-4,3-5,4"), (CpuSet{2, 3, 4, 5}));
    EXPECT_EQ(parse_cpu_list("0-8191")->size(), cpus_max);
}

TEST(CpuList, WritesWhatItReads) {
    for (const char* const text : {"0", "0-3,8", "1,3,5-6,8191"})
        EXPECT_EQ(format_cpu_list(*parse_cpu_list(text)), text);
    EXPECT_EQ(format_cpu_list(*parse_cpu_list("1,0")), "0-1");
    EXPECT_EQ(format_cpu_list({}), "");
}

TEST(CpuList, SaysWhatIsWrong) {
    const auto refusal = [](std::string_view text) {
        const auto cpus = parse_cpu_list(text);
        return cpus ? "(accepted)" : cpus.error().what;
    };
    EXPECT_EQ(refusal(""), "names no CPU");
    EXPECT_EQ(refusal("3-1"), "has the range 3-1, which ends before it begins");
    EXPECT_EQ(refusal("8192"), "has CPU 8192, and the largest number is 8191");
    EXPECT_EQ(refusal("0-4294967295"), "has CPU 4294967295, and the largest number is 8191");
    EXPECT_THAT(refusal("99999999999999999999"), HasSubstr("the largest number is 8191"));
    for (const char* const text : {",", "1,", ",1", "1,,2", "-", "1-", "-1", "1-2-3", " 1", "1 ",
                                   "a", "0x1", "1:2", "+1", "1.5"})
        EXPECT_THAT(refusal(text), HasSubstr("which is no CPU and no range such as 0-3")) << text;
    EXPECT_LT(refusal(std::string(100'000, 'x')).size(), 100U);
}

}  // namespace
}  // namespace holdfast::cores
