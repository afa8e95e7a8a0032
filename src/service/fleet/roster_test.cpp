#include "service/fleet/roster.h"

#include <gtest/gtest.h>

namespace holdfast::fleet {

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

}  // namespace holdfast::fleet
