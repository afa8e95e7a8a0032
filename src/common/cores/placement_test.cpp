#include "common/cores/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::cores {
namespace {

using testing::HasSubstr;

// Nodes of `cores` cores with two hyper-threads each: core c has CPUs c and c + all cores.
Machine big_machine(std::uint32_t nodes, std::uint32_t cores) {
    Machine machine;
    for (std::uint32_t core = 0; core < nodes * cores; ++core)
        for (const std::uint32_t id : {core, core + nodes * cores})
            machine.cpus.push_back({.id = id, .core = core, .node = core / cores});
    for (std::uint32_t id = 0; id < 2 * nodes * cores; ++id) machine.present.push_back(id);
    return machine;
}

std::string cpus(std::string_view choice, const Machine& machine) {
    const auto found = cpus_of(*parse_choice(choice), machine);
    if (!found) return found.error().what;
    CpuSet ids;
    for (const Cpu& cpu : *found) ids.push_back(cpu.id);
    std::ranges::sort(ids);
    return format_cpu_list(ids);
}

std::vector<std::string> placed(std::string_view choice, std::uint32_t threads,
                                const Machine& machine) {
    std::vector<std::string> texts;
    for (const CpuSet& one : *place(*parse_choice(choice), threads, machine))
        texts.push_back(format_cpu_list(one));
    return texts;
}

using Texts = std::vector<std::string>;

TEST(Choice, SaysWhatIsWrong) {
    const auto refusal = [](std::string_view text) {
        const auto choice = parse_choice(text);
        return choice ? "(accepted)" : choice.error().what;
    };
    EXPECT_EQ(refusal(""), "must be auto, none or CPUs such as 0-3,8: it names no CPU");
    EXPECT_EQ(refusal("all"),
              "must be auto, none or CPUs such as 0-3,8: it has \"all\", which is no CPU and no "
              "range such as 0-3");
    EXPECT_THAT(refusal("3-1"), HasSubstr("ends before it begins"));
    for (const char* const share : {"", "1", "/", "0/2", "3/2", "1/", "/2", "1/2/3", "-1/2",
                                    "1/1025", "1/99999999999", "a/b", " 1/2"})
        EXPECT_THAT(refusal(std::string("auto:") + share), HasSubstr("is no share such as 1/2"))
            << share;
    for (const char* const good : {"auto", "none", "0", "0-3:2/2", "auto:1/1", "none:1/1024"})
        EXPECT_EQ(refusal(good), "(accepted)");
}

TEST(Choice, RefusesCpusThatAreNotThereOrNotAllowed) {
    Machine machine = plain_machine(8);
    std::erase_if(machine.cpus, [](const Cpu& cpu) { return cpu.id >= 4; });
    EXPECT_EQ(cpus("1-2", machine), "1-2");
    EXPECT_EQ(cpus("3-4", machine),
              "has CPU 4, which this process may not use: it is limited to 0-3");
    EXPECT_EQ(cpus("0,9", machine), "has CPU 9, which this machine does not have: it has 0-7");
}

TEST(Choice, DoesWithoutCpusThatAreGoneWhenItIsAShare) {
    Machine machine = plain_machine(8);
    EXPECT_EQ(cpus("0-5:2/2", machine), "3-5");
    std::erase_if(machine.cpus, [](const Cpu& cpu) { return cpu.id < 2; });
    EXPECT_EQ(cpus("0-5:2/2", machine), "4-5");
    EXPECT_EQ(cpus("0-1:1/2", machine), "");
    EXPECT_EQ(placed("0-1:1/2", 2, machine), Texts());
}

TEST(Shares, AreContiguousAndHaveWholeCoresWithTheirHyperThreads) {
    const Machine machine = big_machine(1, 4);
    EXPECT_EQ(cpus("auto:1/2", machine), "0-1,4-5");
    EXPECT_EQ(cpus("auto:2/2", machine), "2-3,6-7");
    EXPECT_EQ(cpus("auto:1/1", machine), "0-7");
    EXPECT_EQ(cpus("1-3,5:2/2", machine), "2");
}

TEST(Shares, StayOnOneNodeWhereTheyFit) {
    const Machine machine = big_machine(2, 8);  // hyper-threads are 16 to 31
    EXPECT_EQ(cpus("auto:1/4", machine), "0-3,16-19");
    EXPECT_EQ(cpus("auto:3/4", machine), "8-11,24-27");
    // Five cores each: one share on either node, and the third one from what both have left.
    EXPECT_EQ(cpus("auto:1/3", machine), "0-4,16-20");
    EXPECT_EQ(cpus("auto:2/3", machine), "8-12,24-28");
    EXPECT_EQ(cpus("auto:3/3", machine), "5-7,13-14,21-23,29-30");
}

TEST(Shares, AreDisjointAndOfOneSizeForAnyNumber) {
    const Machine machine = big_machine(3, 5);
    for (std::uint32_t count = 1; count <= 15; ++count) {
        CpuSet all;
        for (std::uint32_t index = 0; index < count; ++index) {
            const auto choice = parse_choice(format_share("auto", {index, count}));
            const auto own = cpus_of(*choice, machine);
            ASSERT_EQ(own->size(), 15 / count * 2);
            EXPECT_EQ(*threads_of(*choice, machine), 15 / count);
            for (const Cpu& cpu : *own) all.push_back(cpu.id);
        }
        std::ranges::sort(all);
        EXPECT_EQ(std::ranges::adjacent_find(all), all.end()) << count;
    }
}

TEST(Threads, AreOnePerCoreOfTheShareWithinTheQuota) {
    Machine machine = big_machine(1, 8);
    const auto threads = [&](std::string_view choice) {
        return *threads_of(*parse_choice(choice), machine);
    };
    EXPECT_EQ(threads("auto"), 8U);
    EXPECT_EQ(threads("none:1/3"), 2U);
    EXPECT_EQ(threads("0-3,8-9"), 4U);
    EXPECT_EQ(threads("auto:1/16"), 1U);
    machine.quota_cpus = 6;
    EXPECT_EQ(threads("auto"), 6U);
    EXPECT_EQ(threads("auto:1/2"), 3U);
    EXPECT_EQ(threads("none:1/2"), 3U);
    EXPECT_EQ(threads("auto:1/8"), 1U);
}

TEST(Place, GivesEachThreadACoreAndSpreadsFewThreadsOverAll) {
    const Machine machine = big_machine(2, 4);
    EXPECT_EQ(placed("0-15:1/2", 4, machine), (Texts{"0,8", "1,9", "2,10", "3,11"}));
    EXPECT_EQ(placed("auto:1/2", 3, machine), (Texts{"0,8", "1,9", "2,10"}));
    EXPECT_EQ(placed("auto:1/1", 2, machine), (Texts{"0,8", "4,12"}));
    EXPECT_EQ(placed("4-6", 3, machine), (Texts{"4", "5", "6"}));
}

TEST(Place, KeepsFullSharesToTheirNodeAsAWhole) {
    EXPECT_EQ(placed("auto:1/2", 4, big_machine(2, 4)),
              (Texts{"0-3,8-11", "0-3,8-11", "0-3,8-11", "0-3,8-11"}));
    EXPECT_EQ(placed("auto:3/4", 2, big_machine(2, 4)), (Texts{"4-5,12-13", "4-5,12-13"}));
    EXPECT_EQ(placed("auto:1/8", 1, big_machine(2, 4)), Texts());  // one core
}

TEST(Place, GivesEachThreadACpuWhereThereAreTooFewCores) {
    const Machine machine = big_machine(1, 2);
    EXPECT_EQ(placed("0-3", 4, machine), (Texts{"0", "2", "1", "3"}));
    EXPECT_EQ(placed("0,2", 2, machine), (Texts{"0", "2"}));
}

TEST(Place, KeepsMoreThreadsThanCpusToTheWholeList) {
    EXPECT_EQ(placed("0-1", 3, plain_machine(4)), (Texts{"0-1", "0-1", "0-1"}));
}

TEST(Place, LeavesThreadsFreeWhereKeepingThemWouldBeInTheWay) {
    Machine machine = plain_machine(4);
    EXPECT_EQ(placed("none:1/1", 4, machine), Texts());
    EXPECT_EQ(placed("auto", 4, machine), Texts());      // others may have these cores too
    EXPECT_EQ(placed("auto:1/4", 1, machine), Texts());  // one core
    EXPECT_EQ(placed("auto:1/2", 3, machine), Texts());  // more threads than cores
    EXPECT_EQ(placed("auto:1/8", 1, machine), Texts());  // more workers than cores
    EXPECT_EQ(placed("auto:2/2", 2, machine), Texts());  // no core to spare
    EXPECT_EQ(placed("auto:2/2", 1, machine), (Texts{"2"}));
    EXPECT_EQ(placed("2:1/1", 1, machine), Texts{"2"});  // as told
    machine.quota_cpus = 3;
    EXPECT_EQ(placed("auto:2/2", 1, machine), Texts());
}

TEST(Describe, NamesThreadsAndCpus) {
    EXPECT_EQ(describe({}, 1), "1 thread on any CPU");
    EXPECT_EQ(describe({{3}}, 1), "1 thread on CPU 3");
    EXPECT_EQ(describe({{0}, {1}}, 2), "2 threads on CPUs 0-1, each on its own");
    EXPECT_EQ(describe({{0, 1}, {0, 1}}, 2), "2 threads on CPUs 0-1");
}

}  // namespace
}  // namespace holdfast::cores
