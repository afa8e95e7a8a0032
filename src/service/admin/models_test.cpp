#include "service/admin/models.h"

#include <gtest/gtest.h>

namespace holdfast::admin {
namespace {

fleet::Instance serving(std::string model, std::uint32_t context) {
    fleet::Instance one;
    one.model = std::move(model);
    one.context = context;
    one.created = 1'764'000'000;
    return one;
}

TEST(Models, AreListedOnceEachWithTheirContextUnderAllItsNames) {
    fleet::Snapshot snapshot;
    snapshot.instances = {serving("r1", 8'192), serving("", 0), serving("r1", 8'192),
                          serving("r2", 0)};
    const std::string first =
        R"({"id":"r1","object":"model","created":1764000000,"owned_by":"holdfast",)"
        R"("context_length":8192,"max_model_len":8192})";
    const std::string second =
        R"({"id":"r2","object":"model","created":1764000000,"owned_by":"holdfast"})";
    EXPECT_EQ(render_models(snapshot),
              R"({"object":"list","data":[)" + first + "," + second + "]}");
    EXPECT_EQ(render_model(snapshot, "r2"), second);
    EXPECT_EQ(render_model(snapshot, ""), std::nullopt);
    EXPECT_EQ(render_model(snapshot, "r3"), std::nullopt);
}

}  // namespace
}  // namespace holdfast::admin
