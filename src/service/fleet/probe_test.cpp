#include "service/fleet/probe.h"

#include <gtest/gtest.h>

namespace holdfast::fleet {

TEST(Readyz, IsReadAsTheProtocolPageShowsIt) {
    const auto probed = parse_readyz(
        R"({"ready": true, "reasons": [], "model": "tiny-r1", "fingerprint": "f00",
            "context": 8192,
            "load_progress": 1.0, "pid": 4711, "instance_life": "9f0c",
            "running": 3, "waiting": 2, "progress": 812345, "draining": false,
            "later": {"x": 1}})");
    ASSERT_TRUE(probed);
    EXPECT_TRUE(probed->answer.ready);
    EXPECT_FALSE(probed->answer.draining);
    EXPECT_EQ(probed->answer.reasons, "");
    EXPECT_EQ(probed->answer.work, 5U);
    EXPECT_EQ(probed->answer.progress, 812345U);
    EXPECT_EQ(probed->instance_life, "9f0c");
    EXPECT_EQ(probed->fingerprint, "f00");
    EXPECT_EQ(probed->pid, 4711);
    ASSERT_TRUE(probed->models);
    EXPECT_EQ(probed->models->at(0).id, "tiny-r1");
    EXPECT_EQ(probed->models->at(0).context, 8192U);
}

TEST(Readyz, TellsWhyNotAndHowFarTheLoadingIs) {
    const auto probed = parse_readyz(
        R"({"ready": false, "reasons": ["loading", 7, "no memory"], "load_progress": 0.4})");
    ASSERT_TRUE(probed);
    EXPECT_FALSE(probed->answer.ready);
    EXPECT_EQ(probed->answer.reasons, "loading, no memory, 40 % loaded");
    EXPECT_FALSE(probed->models);
    EXPECT_FALSE(probed->answer.progress);
}

TEST(Readyz, RefusesWhatIsNone) {
    for (const char* body : {"", "ok", "[]", "{}", "{\"ready\": 1}", "{\"ready\": true", "null",
                             "{\"ready\": \"true\"}", "\xFF\xFE"}) {
        const auto probed = parse_readyz(body);
        ASSERT_FALSE(probed) << body;
        EXPECT_EQ(probed.error().code, base::Code::corrupt);
        EXPECT_EQ(probed.error().origin, base::Origin::instance);
    }
}

TEST(Readyz, BoundsWhatAHostileInstanceSays) {
    const std::string longer(100'000, 'x');
    const auto probed = parse_readyz(R"({"ready": false, "running": 99999999999999, "pid": -5,
                                         "context": 1e400, "reasons": [")" +
                                     longer + R"("], "model": ")" + longer + "\"}");
    // 1e400 is no number that JSON parsers accept, so the whole page counts as garbage.
    ASSERT_FALSE(probed);
    const auto bounded = parse_readyz(R"({"ready": false, "running": 99999999999999, "pid": -5,
                                          "reasons": [")" +
                                      longer + R"("], "model": ")" + longer + "\"}");
    ASSERT_TRUE(bounded);
    EXPECT_EQ(bounded->answer.work, 4294967295U);
    EXPECT_EQ(bounded->pid, 0);
    EXPECT_LE(bounded->answer.reasons.size(), 512U);
    EXPECT_LE(bounded->models->at(0).id.size(), 512U);
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

}  // namespace holdfast::fleet
