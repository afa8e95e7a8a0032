#include "common/http/request_rules.h"

#include <gtest/gtest.h>

namespace holdfast::http {
namespace {

Headers one(std::string name, std::string value) {
    Headers headers;
    headers.add(std::move(name), std::move(value));
    return headers;
}

std::string tag_of(const Headers& headers) {
    const auto checked = check_json_body(headers);
    return checked ? "" : checked.error().tag;
}

class RequestRules : public ::testing::Test {
protected:
    std::string id_for(std::string given) {
        return request_id(one("X-Request-Id", std::move(given)), entropy_);
    }
    base::SystemEntropy entropy_;
};

TEST_F(RequestRules, KeepsTheClientsRequestIdIfItIsHarmless) {
    EXPECT_EQ(id_for("trace-1_a.B:9"), "trace-1_a.B:9");
    EXPECT_EQ(id_for(std::string(128, 'x')), std::string(128, 'x'));
}

TEST_F(RequestRules, ReplacesARequestIdThatCouldForgeALogLineOrIsTooLong) {
    for (const char* given : {"", "a b", "a\nb", "a\"b", "a=b", "caf\xc3\xa9", "a;b"}) {
        EXPECT_TRUE(id_for(given).starts_with("req-")) << given;
    }
    EXPECT_EQ(id_for(std::string(129, 'x')).size(), 4U + 24U);
}

TEST_F(RequestRules, MakesADifferentIdForEveryRequestWithoutOne) {
    const std::string first = request_id(Headers(), entropy_);
    EXPECT_EQ(first.size(), 4U + 24U);
    EXPECT_NE(first, request_id(Headers(), entropy_));
}

TEST_F(RequestRules, TakesJsonWithParametersInAnyCaseAndAMissingType) {
    EXPECT_EQ(tag_of(Headers()), "");
    EXPECT_EQ(tag_of(one("Content-Type", "application/json")), "");
    EXPECT_EQ(tag_of(one("content-type", "Application/JSON ; charset=utf-8")), "");
    EXPECT_EQ(tag_of(one("Content-Encoding", "Identity")), "");
}

TEST_F(RequestRules, RefusesOtherTypesAndCompressedBodies) {
    for (const char* type : {"text/plain", "application/jsonx", "", ";application/json"}) {
        EXPECT_EQ(tag_of(one("Content-Type", type)), "unsupported_media_type") << type;
    }
    for (const char* encoding : {"gzip", "br", "identity, gzip", ""}) {
        EXPECT_EQ(tag_of(one("Content-Encoding", encoding)), "unsupported_media_type") << encoding;
    }
}

}  // namespace
}  // namespace holdfast::http
