#include "common/http/parser.h"
#include "common/http/request_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/http/refused_requests.h"

namespace holdfast::http {
namespace {

constexpr HeadLimits limits{16 * 1024, 100};
constexpr std::size_t body_max = 1000;

struct Outcome {
    std::vector<RequestHead> requests;
    int refused = 0;  // the status, or 0
    bool operator==(const Outcome& other) const {
        if (refused != other.refused || requests.size() != other.requests.size()) return false;
        for (std::size_t i = 0; i < requests.size(); ++i) {
            const Request& a = requests[i].request;
            const Request& b = other.requests[i].request;
            if (a.method != b.method || a.path != b.path || a.query != b.query ||
                a.body != b.body || a.headers.size() != b.headers.size()) {
                return false;
            }
        }
        return true;
    }
};

// Feeds `bytes` in two pieces, or byte by byte when `cut` is npos.
Outcome read_all(std::string_view bytes, std::size_t cut) {
    RequestReader reader(limits, body_max);
    Outcome outcome;
    std::vector<std::string_view> pieces{bytes.substr(0, cut)};
    if (cut != std::string_view::npos) pieces.push_back(bytes.substr(cut));
    if (cut == std::string_view::npos) {
        pieces.clear();
        for (std::size_t i = 0; i < bytes.size(); ++i) pieces.push_back(bytes.substr(i, 1));
    }
    for (std::string_view piece : pieces) {
        while (!piece.empty()) {
            const auto taken = reader.feed(piece);
            if (!taken) {
                outcome.refused = taken.error().status;
                return outcome;
            }
            piece.remove_prefix(*taken);
            if (reader.complete()) {
                outcome.requests.push_back(reader.take());
            } else {
                EXPECT_TRUE(piece.empty()) << "an incomplete request takes all bytes";
            }
        }
    }
    return outcome;
}

TEST(RequestReader, RefusesEveryRequestOfTheTableHoweverItIsCut) {
    for (const auto& row : testing::refused_requests()) {
        SCOPED_TRACE(row.what);
        const Outcome whole = read_all(row.bytes, row.bytes.size());
        EXPECT_EQ(whole.refused, row.status);
        EXPECT_EQ(whole.requests.size(), row.served_before);
        EXPECT_EQ(read_all(row.bytes, std::string_view::npos), whole) << "byte by byte";
        if (row.bytes.size() > 2000) continue;
        for (std::size_t cut = 1; cut < row.bytes.size(); ++cut) {
            ASSERT_EQ(read_all(row.bytes, cut), whole) << "cut at " << cut;
        }
    }
}

TEST(RequestReader, ReadsPipelinedRequestsHoweverTheyAreCut) {
    const std::string bytes =
        "\r\nGET /a%20b/%E2%82%AC?q=%0a HTTP/1.1\r\nHost: x\r\nX-Value: \t caf\xc3\xa9 \r\n\r\n"
        "POST /p HTTP/1.1\r\nhost:x\r\nContent-Length: 5\r\n\r\nhello"
        "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
        "3;a=b;c;d=\"q\\\"\"\r\nabc\r\n0A\r\n0123456789\r\n000\r\nT: 1\r\n\r\n"
        "GET http://other:81/z HTTP/1.0\r\nHost: x\r\n\r\n";
    const Outcome whole = read_all(bytes, bytes.size());
    ASSERT_EQ(whole.refused, 0);
    ASSERT_EQ(whole.requests.size(), 4);
    EXPECT_EQ(whole.requests[0].request.path, "/a b/\xe2\x82\xac");
    EXPECT_EQ(whole.requests[0].request.query, "q=%0a");
    EXPECT_EQ(whole.requests[0].request.headers.find("x-value"), "caf\xc3\xa9");
    EXPECT_EQ(whole.requests[1].request.body, "hello");
    EXPECT_EQ(whole.requests[2].request.body, "abc0123456789");
    EXPECT_EQ(whole.requests[3].request.path, "/z");
    EXPECT_EQ(whole.requests[3].request.headers.find("host"), "other:81");
    EXPECT_FALSE(whole.requests[3].keep_alive);
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
        ASSERT_EQ(read_all(bytes, cut), whole) << "cut at " << cut;
    }
    EXPECT_EQ(read_all(bytes, std::string_view::npos), whole);
}

TEST(RequestReader, DropsNamesWithAnUnderscore) {
    const Outcome outcome =
        read_all("GET / HTTP/1.1\r\nHost: x\r\nx_api_key: a\r\nX-Api-Key: b\r\n\r\n", 1);
    ASSERT_EQ(outcome.requests.size(), 1);
    const Headers& headers = outcome.requests[0].request.headers;
    EXPECT_EQ(headers.size(), 2);
    EXPECT_EQ(headers.find("x-api-key"), "b");
}

TEST(RequestReader, LeavesEncodedLineEndsInHeadersAsTheyAre) {
    const Outcome outcome = read_all("GET / HTTP/1.1\r\nHost: x\r\nX-A: b%0d%0aX-B: c\r\n\r\n", 1);
    ASSERT_EQ(outcome.requests.size(), 1);
    EXPECT_EQ(outcome.requests[0].request.headers.find("x-a"), "b%0d%0aX-B: c");
    EXPECT_EQ(outcome.requests[0].request.headers.count("x-b"), 0);
}

TEST(RequestReader, AcceptsExactlyTheLimits) {
    std::string head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n";
    for (int i = 0; i < 98; ++i) head += "A: b\r\n";
    head += "\r\n";
    const Outcome fields = read_all(head + std::string(1000, 'x'), 10);
    ASSERT_EQ(fields.requests.size(), 1);
    EXPECT_EQ(fields.requests[0].request.headers.size(), 100);

    std::string large = "GET / HTTP/1.1\r\nHost: x\r\nA: ";
    large += std::string(limits.bytes_max - large.size() - 4, 'v') + "\r\n\r\n";
    ASSERT_EQ(large.size(), limits.bytes_max);
    EXPECT_EQ(read_all(large, 100).requests.size(), 1);
}

TEST(RequestReader, KnowsWhenAConnectionIsKept) {
    struct Row {
        std::string_view version, connection;
        bool kept;
    };
    for (const Row& row :
         {Row{"1.1", "", true}, Row{"1.1", "close", false}, Row{"1.1", "keep-alive, Close", false},
          Row{"1.0", "", false}, Row{"1.0", "Keep-Alive", true},
          Row{"1.0", "keep-alive,close", false}, Row{"1.7", "x", true}}) {
        std::string bytes = "GET / HTTP/" + std::string(row.version) + "\r\nHost: x\r\n";
        if (!row.connection.empty()) {
            bytes += "Connection: " + std::string(row.connection) + "\r\n";
        }
        const Outcome outcome = read_all(bytes + "\r\n", 5);
        ASSERT_EQ(outcome.requests.size(), 1);
        EXPECT_EQ(outcome.requests[0].keep_alive, row.kept) << row.version << row.connection;
    }
}

TEST(ResponseHead, FindsTheBodysFraming) {
    struct Row {
        std::string_view head, method;
        Framing framing;
        bool kept;
    };
    const Row rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "GET", Framing::length, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", Framing::none, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", Framing::none, true},
        {"HTTP/1.1 204\r\n\r\n", "GET", Framing::none, true},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", "GET", Framing::none, true},
        {"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Framing::chunked, true},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", "GET",
         Framing::length, false},
        {"HTTP/1.1 200 OK\r\n\r\n", "GET", Framing::until_close, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", "GET", Framing::length, false},
    };
    for (const Row& row : rows) {
        const auto head = parse_response_head(row.head, row.method);
        ASSERT_TRUE(head) << row.head;
        EXPECT_EQ(head->framing, row.framing) << row.head;
        EXPECT_EQ(head->keep_alive, row.kept) << row.head;
    }
}

TEST(ResponseHead, RefusesWhatIsNotOne) {
    for (const std::string_view head :
         {"HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
          "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1200 OK\r\n\r\n", "+PONG\r\n\r\n", "\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 O\x01\r\n\r\n"}) {
        EXPECT_FALSE(parse_response_head(head, "GET")) << head;
    }
}

}  // namespace
}  // namespace holdfast::http
