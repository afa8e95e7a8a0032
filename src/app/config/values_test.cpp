#include "app/config/values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::config {

using std::chrono::milliseconds;
using testing::HasSubstr;

TEST(Durations, AreReadWithEveryUnit) {
    EXPECT_EQ(parse_duration("250ms"), milliseconds(250));
    EXPECT_EQ(parse_duration("2s"), milliseconds(2000));
    EXPECT_EQ(parse_duration("1.5s"), milliseconds(1500));
    EXPECT_EQ(parse_duration("10min"), milliseconds(600'000));
    EXPECT_EQ(parse_duration("10m"), milliseconds(600'000));
    EXPECT_EQ(parse_duration("2 h"), milliseconds(7'200'000));
    EXPECT_EQ(parse_duration("1d"), milliseconds(86'400'000));
}

TEST(Durations, WithoutAUnitAreRefusedWithAHint) {
    EXPECT_THAT(parse_duration("30").error().what, HasSubstr("needs a unit"));
    EXPECT_THAT(parse_duration("0").error().what, HasSubstr("needs a unit"));
}

TEST(Durations, ThatMakeNoSenseAreRefused) {
    for (const char* text : {"", "s", "-1s", "1x", "1sec", "1s2", "1..5s", "1e3s", "0x10s", "NaNs",
                             "99999999999999999999d", "1.2345s", "+1s", " 1s", "1s "})
        EXPECT_FALSE(parse_duration(text).has_value()) << text;
}

TEST(Durations, ArePrintedInTheLargestWholeUnit) {
    EXPECT_EQ(format_duration(milliseconds(1500)), "1500ms");
    EXPECT_EQ(format_duration(milliseconds(2000)), "2s");
    EXPECT_EQ(format_duration(milliseconds(120'000)), "2min");
    EXPECT_EQ(format_duration(milliseconds(0)), "0ms");
    EXPECT_EQ(format_duration(milliseconds(86'400'000)), "1d");
}

TEST(Sizes, TellBinaryFromDecimalUnits) {
    EXPECT_EQ(parse_bytes("16MiB"), 16ULL * 1024 * 1024);
    EXPECT_EQ(parse_bytes("16MB"), 16'000'000U);
    EXPECT_EQ(parse_bytes("0.5KiB"), 512U);
    EXPECT_EQ(format_bytes(16ULL * 1024 * 1024), "16MiB");
    EXPECT_FALSE(parse_bytes("16").has_value());
    EXPECT_FALSE(parse_bytes("16Mib").has_value());
    EXPECT_FALSE(parse_bytes("1.5B").has_value());
}

TEST(Numbers, MustBeWholeAndPlain) {
    EXPECT_EQ(parse_integer("18446744073709551615"), 18446744073709551615ULL);
    for (const char* text : {"", "1.0", "1e3", "0x10", "+5", "-5", " 5", "5 ", "1_0", "two", "true",
                             "18446744073709551616"})
        EXPECT_FALSE(parse_integer(text).has_value()) << text;
    for (const char* text : {"inf", "nan", "-0.1", "1e999", "", "0.1x"})
        EXPECT_FALSE(parse_number(text).has_value()) << text;
}

TEST(Addresses, NeedHostAndPort) {
    EXPECT_TRUE(parse_address("127.0.0.1:0").has_value());
    EXPECT_TRUE(parse_address("[::1]:8080").has_value());
    EXPECT_TRUE(parse_address("localhost:65535").has_value());
    for (const char* text : {"", "8080", ":8080", "a:", "a:65536", "a:-1", "::1:8080", "a b:1",
                             "http://a:1", "[::1]", "a:0x50"})
        EXPECT_FALSE(parse_address(text).has_value()) << text;
}

TEST(Models, SplitAtTheLastEqualsSign) {
    EXPECT_EQ(*parse_model("a/b=c"), (Model{"a/b", "c"}));
    EXPECT_EQ(*parse_model("a=b/c=d"), (Model{"a=b/c", "d"}));
    EXPECT_EQ(*parse_model("a/b/"), (Model{"a/b", ""}));
    EXPECT_EQ(default_model_name("/m/tiny-r1"), "tiny-r1");
    EXPECT_EQ(default_model_name("/m/r1-Q4_K_M.gguf"), "r1-Q4_K_M");
    EXPECT_EQ(default_model_name("/m/r1-00001-of-00003.gguf"), "r1");
    for (const char* text : {"", "=x", "a=", "a;b"})
        EXPECT_FALSE(parse_model(text).has_value()) << text;
}

TEST(Externals, TakeOptionsInAnyOrderAndNameTheWrongOne) {
    EXPECT_EQ(format_target(*parse_target("http://h:1/,name=n,kind=vllm,weight=2.50,model=m")),
              "http://h:1,kind=vllm,model=m,name=n,weight=2.5");
    EXPECT_EQ(format_target(*parse_target("http://h:1/v1")), "http://h:1,kind=openai");
    EXPECT_THAT(parse_target("h:1").error().what, HasSubstr("did you mean http://h:1?"));
    EXPECT_THAT(parse_target("http://h:1,kid=vllm").error().what, HasSubstr("\"kind\""));
    EXPECT_THAT(parse_target("http://h:1,kind=vlm").error().what,
                HasSubstr("\"vlm\" is no kind of instance; there are holdfast, vllm"));
    for (const char* text :
         {"", "h:1", "ftp://h", "http://", "http://h,kind", "http://h,kind=", "http://h,name=a b",
          "http://h;http://i", "http://h,weight=0", "http://h,weight=1001", "http://h,weight=x"})
        EXPECT_FALSE(parse_target(text).has_value()) << text;
}

}  // namespace holdfast::config
