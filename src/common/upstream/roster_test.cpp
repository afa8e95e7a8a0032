#include "common/upstream/roster.h"

#include <gtest/gtest.h>

namespace holdfast::upstream {

TEST(Roster, ReadsTheListOfTheProtocolPage) {
    const auto entries = parse_roster(
        "id=a pid=4711 restarts=2 state=running listen=127.0.0.1:43211\n"
        "id=b pid=0 restarts=1 state=down listen=- reason=exited with code 1: id=a is cut short\n");
    ASSERT_TRUE(entries);
    ASSERT_EQ(entries->size(), 2U);
    const RosterEntry& a = (*entries)[0];
    EXPECT_EQ(a.id, "a");
    EXPECT_EQ(a.pid, 4711);
    EXPECT_EQ(a.restarts, 2U);
    EXPECT_EQ(a.state, ProcessState::running);
    EXPECT_EQ(a.listen, "127.0.0.1:43211");
    const RosterEntry& b = (*entries)[1];
    EXPECT_EQ(b.pid, 0);
    EXPECT_EQ(b.state, ProcessState::down);
    EXPECT_EQ(b.listen, "");
    EXPECT_EQ(a.reason, "");
    EXPECT_EQ(b.id, "b");
    EXPECT_EQ(b.reason, "exited with code 1: id=a is cut short");
}

TEST(Roster, SkipsFieldsItDoesNotKnowAndTakesAnyOrder) {
    const auto entries = parse_roster("state=draining colour=blue id=x");
    ASSERT_TRUE(entries);
    EXPECT_EQ(entries->at(0).id, "x");
    EXPECT_EQ(entries->at(0).state, ProcessState::draining);
}

TEST(Roster, IsReadAsItWasWritten) {
    const std::vector<RosterEntry> written{
        {"a", 4711, 2, ProcessState::running, "127.0.0.1:43211", ""},
        {"b", 0, 1, ProcessState::down, "", "exited with code 1: state=running"},
        {"c", 5, 0, ProcessState::starting, "", ""},
        {"d", 6, 4'294'967'295, ProcessState::draining, "[::1]:1", ""},
    };
    std::string packet;
    for (const RosterEntry& entry : written) append_roster_line(packet, entry);
    const auto entries = parse_roster(packet);
    ASSERT_TRUE(entries) << packet;
    EXPECT_EQ(*entries, written);
}

TEST(Roster, HoldsABoundedNumberOfInstances) {
    std::string packet;
    for (std::size_t i = 0; i < roster_entries_max; ++i)
        append_roster_line(packet, {.id = std::to_string(i)});
    EXPECT_TRUE(parse_roster(packet));
    append_roster_line(packet, {.id = "x"});
    EXPECT_FALSE(parse_roster(packet));
}

TEST(Roster, MayBeEmpty) { EXPECT_TRUE(parse_roster("\n").value().empty()); }

TEST(Roster, RefusesWhatIsMalformed) {
    for (const char* packet :
         {"pid=1 state=running", "id=a", "id= state=running", "id=a state=", "id=a state=dancing",
          "id=a state=running pid=-1", "id=a state=running pid=1x", "id=a state=running pid=",
          "id=a state=running restarts=4294967296", "id=a state=running pid=99999999999",
          "id=a state=running\nid=a state=down", "nonsense", "\x01\x02\xFF", "= = ="}) {
        const auto entries = parse_roster(packet);
        ASSERT_FALSE(entries) << packet;
        EXPECT_EQ(entries.error().code, base::Code::corrupt) << packet;
    }
}

}  // namespace holdfast::upstream
