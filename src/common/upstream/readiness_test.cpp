#include "common/upstream/readiness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/upstream/limits.h"

namespace holdfast::upstream {

using testing::ElementsAre;

TEST(Readiness, IsReadAsItWasWritten) {
    const Readiness loading{.ready = false,
                            .draining = true,
                            .reasons = {"loading", "a \"reason\""},
                            .load_progress = 0.25,
                            .pid = 12,
                            .instance_life = "9f0c"};
    const Readiness serving{.ready = true,
                            .model = "tiny-r1",
                            .fingerprint = "f00",
                            .context = 8192,
                            .pid = 4711,
                            .instance_life = "9f0d",
                            .running = 3,
                            .waiting = 2,
                            .progress = 18'446'744'073'709'551'615U};
    for (const Readiness& written : {loading, serving}) {
        const auto read = parse_readiness(render_readiness(written));
        ASSERT_TRUE(read) << render_readiness(written);
        EXPECT_EQ(*read, written);
    }
}

TEST(Readiness, SkipsWhatItDoesNotKnow) {
    const auto read = parse_readiness(
        R"({"ready": false, "reasons": ["loading", 7, "no memory"], "load_progress": 0.4,
            "later": {"x": 1}})");
    ASSERT_TRUE(read);
    EXPECT_FALSE(read->ready);
    EXPECT_THAT(read->reasons, ElementsAre("loading", "no memory"));
    EXPECT_EQ(read->load_progress, 0.4);
    EXPECT_FALSE(read->progress);
}

TEST(Readiness, RefusesWhatIsNone) {
    for (const char* body :
         {"", "ok", "[]", "{}", "{\"ready\": 1}", "{\"ready\": true", "null",
          "{\"ready\": \"true\"}", "{\"ready\": true, \"context\": 1e400}", "\xFF\xFE"}) {
        const auto read = parse_readiness(body);
        ASSERT_FALSE(read) << body;
        EXPECT_EQ(read.error().code, base::Code::corrupt);
        EXPECT_EQ(read.error().origin, base::Origin::instance);
    }
}

TEST(Readiness, BoundsWhatAHostileInstanceSays) {
    std::string longer;
    while (longer.size() < 100'000) longer += "\xC3\xA9";
    std::string reasons = "\"x\"";
    for (int i = 0; i < 1000; ++i) reasons += ",\"" + longer.substr(0, 2000) + "\"";
    const auto read = parse_readiness(
        R"({"ready": false, "running": 99999999999999, "pid": -5, "context": 99999999999999,
            "load_progress": -1e300, "reasons": [)" +
        reasons + R"(], "fingerprint": "a\nb", "model": "x)" + longer + "\"}");
    ASSERT_TRUE(read);
    EXPECT_EQ(read->running, 4'294'967'295U);
    EXPECT_EQ(read->context, context_max);
    EXPECT_EQ(read->pid, 0);
    EXPECT_EQ(read->load_progress, 0);
    EXPECT_EQ(read->reasons.size(), reasons_max);
    EXPECT_EQ(read->reasons.back().size(), reason_bytes_max);
    EXPECT_EQ(read->fingerprint, "a b");
    EXPECT_EQ(read->model.size(), name_bytes_max - 1);  // no half character
}

TEST(Models, AreReadInVllmsForm) {
    const auto models = parse_models(
        R"({"object":"list","data":[{"id":"r1","object":"model","max_model_len":32768,"root":"x"},
            {"id":"lora","max_model_len":null}]})");
    ASSERT_TRUE(models);
    ASSERT_EQ(models->size(), 2U);
    EXPECT_EQ(models->at(0).id, "r1");
    EXPECT_EQ(models->at(0).context, 32768U);
    EXPECT_EQ(models->at(1).context, 0U);
}

TEST(Models, AreReadInLlamaServersForm) {
    const auto models = parse_models(
        R"({"data":[{"id":"a.gguf","meta":{"n_ctx_train":131072}},
                    {"id":"b.gguf","meta":{"n_ctx":4096,"n_ctx_train":131072}}]})");
    ASSERT_TRUE(models);
    EXPECT_EQ(models->at(0).context, 131072U);
    EXPECT_EQ(models->at(1).context, 4096U);
}

TEST(Models, SkipEntriesWithoutAName) {
    const auto models = parse_models(R"({"data":[{"id":""},{"name":"x"},"y",{"id":"z"}]})");
    ASSERT_TRUE(models);
    ASSERT_EQ(models->size(), 1U);
    EXPECT_EQ(models->at(0).id, "z");
}

TEST(Models, RefuseWhatIsNoList) {
    for (const char* body : {"", "{}", "[]", R"({"data":{}})", "<html>"}) {
        EXPECT_FALSE(parse_models(body)) << body;
    }
}

TEST(Models, AreBoundedInNumberAndInTheirNames) {
    std::string list;
    for (int i = 0; i < 1000; ++i) list += "{\"id\":\"" + std::string(1000, 'x') + "\"},";
    const auto models = parse_models("{\"data\":[" + list + "7]}");
    ASSERT_TRUE(models);
    EXPECT_EQ(models->size(), models_max);
    EXPECT_EQ(models->front().id.size(), name_bytes_max);
}

}  // namespace holdfast::upstream
