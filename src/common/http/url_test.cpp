#include <gtest/gtest.h>

#include "common/http/url.h"

namespace holdfast::http {
namespace {

TEST(Url, ParsesHostPortAndPath) {
    struct Row {
        std::string_view text, host;
        std::uint16_t port;
        std::string_view path;
    };
    for (const Row& row : {Row{"http://a", "a", 80, ""}, Row{"http://A.b:8080/", "a.b", 8080, ""},
                           Row{"HTTP://127.0.0.1:1/v1/", "127.0.0.1", 1, "/v1"},
                           Row{"http://[::1]:65535/x/y", "::1", 65535, "/x/y"},
                           Row{"http://[::1]", "::1", 80, ""}}) {
        const auto url = Url::parse(row.text);
        ASSERT_TRUE(url) << row.text << ": " << url.error().what;
        EXPECT_EQ(url->host, row.host);
        EXPECT_EQ(url->port, row.port);
        EXPECT_EQ(url->path, row.path);
        EXPECT_EQ(Url::parse(url->text()), *url);
    }
}

TEST(Url, LeadsToTheServiceWhateverOfItsApiIsWrittenBehindIt) {
    for (const std::string_view text :
         {"http://h:8000", "http://h:8000/", "http://h:8000/v1", " http://h:8000/v1/\n",
          "http://h:8000/v1/chat/completions", "http://h:8000/v1/models", "http://h:8000/models"}) {
        const auto url = Url::parse_service(text);
        ASSERT_TRUE(url) << text << ": " << url.error().what;
        EXPECT_EQ(url->text(), "http://h:8000") << text;
    }
    EXPECT_EQ(Url::parse_service("http://h/openai/v1")->path, "/openai");
    EXPECT_EQ(Url::parse_service("http://h/v1beta")->path, "/v1beta");
}

TEST(Url, SaysWhatWasMeantByAnAddressWithoutAScheme) {
    EXPECT_TRUE(Url::parse("h:80").error().what.ends_with("; did you mean http://h:80?"));
    EXPECT_FALSE(Url::parse("h h").error().what.contains("did you mean"));
}

TEST(Url, RefusesWhatItCannotServe) {
    for (const std::string_view text : {"",
                                        "a:80",
                                        "ftp://a",
                                        "http://",
                                        "http:///x",
                                        "http://u@a",
                                        "http://u:p@a",
                                        "http://a#f",
                                        "http://a?q",
                                        "http://a:0",
                                        "http://a:65536",
                                        "http://a:",
                                        "http://a:8x",
                                        "http://a b",
                                        "http://[::1",
                                        "http://[a]",
                                        "http://[::1]80",
                                        "http://a\r\nb",
                                        "http://::1",
                                        "http://a:1:2"}) {
        EXPECT_FALSE(Url::parse(text)) << text;
    }
    const auto https = Url::parse("https://a");
    ASSERT_FALSE(https);
    EXPECT_TRUE(https.error().what.contains("https is not supported yet"));
}

}  // namespace
}  // namespace holdfast::http
