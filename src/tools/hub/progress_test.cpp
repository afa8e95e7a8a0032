#include "tools/hub/progress.h"

#include <gtest/gtest.h>

namespace holdfast::hub {
namespace {

TEST(FormatSize, IsReadable) {
    EXPECT_EQ(format_size(0), "0 B");
    EXPECT_EQ(format_size(1023), "1023 B");
    EXPECT_EQ(format_size(1536), "1.5 KiB");
    EXPECT_EQ(format_size(std::uint64_t{15} << 30), "15.0 GiB");
    EXPECT_EQ(format_size(UINT64_MAX), "16384.0 PiB");
}

TEST(ProgressLine, GivesRateAndTimeLeftOfTheLastSeconds) {
    base::FakeClock clock;
    ProgressLine line(clock);
    Progress progress{.bytes_total = 1000 << 20, .files_total = 2};
    EXPECT_EQ(line.update(progress), "  0 %  0 B of 1000.0 MiB, 0 of 2 files");
    clock.advance(std::chrono::seconds(2));
    progress.bytes_done = 200 << 20;
    EXPECT_EQ(line.update(progress),
              " 20 %  200.0 MiB of 1000.0 MiB, 0 of 2 files, 100.0 MiB/s, 8 s left");
    // A standstill shows as one, and what was thrown away makes no negative rate.
    clock.advance(std::chrono::seconds(60));
    line.update(progress);
    progress.bytes_done = 199 << 20;
    clock.advance(std::chrono::seconds(1));
    EXPECT_EQ(line.update(progress), " 20 %  199.0 MiB of 1000.0 MiB, 0 of 2 files");
    progress.bytes_done = progress.bytes_total;
    EXPECT_EQ(line.update(progress), "100 %  1000.0 MiB of 1000.0 MiB, 0 of 2 files, checking");
}

}  // namespace
}  // namespace holdfast::hub
