#include "service/admin/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::admin {

using namespace std::chrono_literals;
using testing::HasSubstr;

fleet::Instance instance() {
    fleet::Instance one;
    one.id = "a";
    one.url.host = "127.0.0.1";
    one.url.port = 43211;
    one.model = "tiny-r1";
    one.state = fleet::State::ready;
    one.pid = 4711;
    one.restarts = 2;
    one.fingerprint = "f00";
    one.context = 8192;
    one.reported_load = 3;
    one.load = std::make_shared<fleet::Load>();
    one.load->outstanding = 2;
    return one;
}

TEST(Status, TellsProcessAndInstancesInTheProtocolsForm) {
    fleet::Snapshot snapshot;
    snapshot.instances.push_back(instance());
    EXPECT_EQ(render_status(snapshot, {"0.1.0", 12'500ms, 4700}),
              R"({"version":"0.1.0","uptime_seconds":12.5,"pid":4700,"instances":[)"
              R"({"id":"a","pid":4711,"url":"http://127.0.0.1:43211","model":"tiny-r1",)"
              R"("kind":"holdfast","state":"ready","reason":"","restarts":2,)"
              R"("renders":false,"tells_ids":false,"fingerprint":"f00","context":8192,"outstanding":2,"load":3}]})");
}

TEST(Status, TellsAFleetOfNobody) {
    EXPECT_EQ(render_status({}, {"1", 0s, 1}),
              R"({"version":"1","uptime_seconds":0,"pid":1,"instances":[]})");
}

TEST(Status, ShowsAnInstanceThatHasNoAddressYet) {
    fleet::Snapshot snapshot;
    snapshot.instances.push_back(instance());
    snapshot.instances[0].url = {};
    snapshot.instances[0].load = nullptr;
    snapshot.instances[0].state = fleet::State::starting;
    const std::string status = render_status(snapshot, {"1", 0s, 1});
    EXPECT_THAT(status, HasSubstr(R"("url":"",)"));
    EXPECT_THAT(status, HasSubstr(R"("state":"starting",)"));
    EXPECT_THAT(status, HasSubstr(R"("outstanding":0,)"));
}

TEST(Status, EscapesWhatAnInstanceSays) {
    fleet::Snapshot snapshot;
    snapshot.instances.push_back(instance());
    snapshot.instances[0].reason = "a \"quoted\"\nword\xFF";
    EXPECT_THAT(render_status(snapshot, {"1", 0s, 1}),
                HasSubstr("\"reason\":\"a \\\"quoted\\\"\\nword\uFFFD\","));
}

}  // namespace holdfast::admin
