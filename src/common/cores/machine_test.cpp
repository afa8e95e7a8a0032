#include "common/cores/machine.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "common/base/test_folder.h"

namespace holdfast::cores {
namespace {

// A made /sys.
class Sysfs {
public:
    void write(const std::string& name, const std::string& text) const {
        std::filesystem::create_directories(
            std::filesystem::path(path() + "/" + name).parent_path());
        folder_.write(name, text + "\n");
    }
    void write_siblings(std::uint32_t cpu, const std::string& list) const {
        write("devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
              list);
    }
    const std::string& path() const { return folder_.path(); }

private:
    base::testing::TemporaryFolder folder_;
};

TEST(Machine, KnowsHyperThreadsAndNodes) {
    const Sysfs sysfs;
    sysfs.write("devices/system/cpu/online", "0-7");
    sysfs.write("devices/system/node/online", "0-1");
    sysfs.write("devices/system/node/node0/cpulist", "0-1,4-5");
    sysfs.write("devices/system/node/node1/cpulist", "2-3,6-7");
    for (std::uint32_t cpu = 0; cpu < 8; ++cpu)
        sysfs.write_siblings(cpu, std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4));
    const Machine machine = read_machine(sysfs.path(), {0, 1, 2, 3, 4, 5, 6, 7});
    const std::vector<Cpu> expected{{0, 0, 0}, {4, 0, 0}, {1, 1, 0}, {5, 1, 0},
                                    {2, 2, 1}, {6, 2, 1}, {3, 3, 1}, {7, 3, 1}};
    EXPECT_EQ(machine.cpus, expected);
    EXPECT_EQ(machine.threads(), 4U);
    EXPECT_FALSE(machine.has_tight_quota());
}

TEST(Machine, HoldsOnlyWhatIsAllowedAndKnowsTheRest) {
    const Sysfs sysfs;
    sysfs.write("devices/system/cpu/online", "0-3");
    for (std::uint32_t cpu = 0; cpu < 4; ++cpu) sysfs.write_siblings(cpu, cpu < 2 ? "0-1" : "2-3");
    const Machine machine = read_machine(sysfs.path(), {1, 2, 3});
    EXPECT_EQ(machine.cpus, (std::vector<Cpu>{{1, 0, 0}, {2, 2, 0}, {3, 2, 0}}));
    EXPECT_EQ(machine.present, (CpuSet{0, 1, 2, 3}));
    EXPECT_EQ(machine.threads(), 2U);
}

TEST(Machine, TakesTheSimplestForWhatItIsNotTold) {
    const Sysfs sysfs;
    sysfs.write("devices/system/node/online", "nonsense");
    sysfs.write_siblings(1, "");
    const Machine machine = read_machine(sysfs.path(), {0, 1});
    EXPECT_EQ(machine.cpus, plain_machine(2).cpus);
    EXPECT_EQ(machine.present, plain_machine(2).present);
    EXPECT_EQ(machine.threads(), 2U);
}

TEST(Machine, HasNoMoreThreadsThanItsControlGroupGrants) {
    const Sysfs sysfs;
    const auto threads = [&](const std::string& quota) {
        sysfs.write("fs/cgroup/cpu.max", quota);
        return read_machine(sysfs.path(), {0, 1, 2, 3}).threads();
    };
    EXPECT_EQ(threads("max 100000"), 4U);
    EXPECT_EQ(threads("200000 100000"), 2U);
    EXPECT_EQ(threads("150000 100000"), 2U);
    EXPECT_EQ(threads("1000 100000"), 1U);
    EXPECT_EQ(threads("800000 100000"), 4U);
    for (const char* const nonsense : {"", "0 0", "-1 100000", "100000", "nan 1"})
        EXPECT_EQ(threads(nonsense), 4U) << nonsense;
    sysfs.write("fs/cgroup/cpu.max", "300000 100000");
    EXPECT_TRUE(read_machine(sysfs.path(), {0, 1, 2, 3}).has_tight_quota());
    EXPECT_FALSE(read_machine(sysfs.path(), {0, 1, 2}).has_tight_quota());
}

TEST(Machine, IsTheOneThatTheThreadMayRunOn) {
    std::thread([] {
        const CpuSet before = thread_affinity();
        ASSERT_FALSE(before.empty());
        ASSERT_TRUE(set_thread_affinity({before.back()}));
        const Machine machine = this_machine();
        ASSERT_EQ(machine.cpus.size(), 1U);
        EXPECT_EQ(machine.cpus[0].id, before.back());
        EXPECT_FALSE(set_thread_affinity({}));
        EXPECT_EQ(thread_affinity(), CpuSet{before.back()});
    }).join();
}

}  // namespace
}  // namespace holdfast::cores
