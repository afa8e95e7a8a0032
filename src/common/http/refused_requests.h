// Requests that must be refused, for the parser's and the server's tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http::testing {

struct RefusedRequest {
    std::string what;
    std::string bytes;
    int status = 400;
    std::size_t served_before = 0;  // requests in `bytes` before the refused one
};

// What is wrong, and where: as the value of a field, as a chunked body, as a field, or everything.
struct RefusedText {
    std::string_view what, text;
    int status = 400;
    std::size_t served_before = 0;
};

using std::string_view_literals::operator""sv;

inline constexpr std::string_view refused_lengths[] = {"+5",
                                                       "-48",
                                                       "0x10",
                                                       "1_0",
                                                       "010",
                                                       "",
                                                       "1Z",
                                                       "18446744073709551616",
                                                       "5, 5",
                                                       "5 5",
                                                       "00",
                                                       "1.0",
                                                       "99999999999999999999999999"};

inline constexpr std::string_view refused_encodings[] = {
    ",chunked",      "chunked;x=1",     "xchunked",    "identity", "chunked, identity",
    "gzip, chunked", "chunked,chunked", "\"chunked\"", ""};

inline constexpr std::string_view refused_paths[] = {"/%00",        "/%0d%0aX", "/%",    "/%1",
                                                     "/%zz",        "/%7f",     "/../a", "/a/..",
                                                     "/a/%2e%2e/b", "/./a",     "/a/."};

inline constexpr RefusedText refused_chunks[] = {
    {"empty size", "\r\n\r\n"},
    {"0x", "0x5\r\nhello\r\n0\r\n\r\n"},
    {"plus", "+5\r\nhello\r\n0\r\n\r\n"},
    {"underscore", "1_0\r\nhello\r\n0\r\n\r\n"},
    {"leading space", " 5\r\nhello\r\n0\r\n\r\n"},
    {"trailing space", "5 \r\nhello\r\n0\r\n\r\n"},
    {"17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n"},
    {"huge", "ffffffffffffffff\r\nhello", 413},
    {"valid, then junk", "5\r\nhelloX\r\n0\r\n\r\n"},
    {"bare LF after the size", "5\nhello\r\n0\r\n\r\n"},
    {"bare LF after the data", "5\r\nhello\n0\r\n\r\n"},
    {"CR and something", "5\rXhello\r\n0\r\n\r\n"},
    {"CR and something after the data", "5\r\nhello\rX0\r\n\r\n"},
    {"NUL in the extension", "5;a\0\r\nhello\r\n0\r\n\r\n"sv},
    {"LF in the extension", "5;a\n\r\nhello\r\n0\r\n\r\n"},
    {"bare semicolon", "5;\r\nhello\r\n0\r\n\r\n"},
    {"empty extension value", "5;a=\r\nhello\r\n0\r\n\r\n"},
    {"text after a quoted value", "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"},
    {"bare LF in the trailer", "0\r\nA: b\n\r\n"},
    {"bad trailer", "0\r\nA b\r\n\r\n"},
    {"folded trailer", "0\r\nA: b\r\n c\r\n\r\n"},
};

inline constexpr RefusedText refused_fields[] = {
    {"NUL in the name", "A\0b: c"sv},
    {"NUL in the value", "A: b\0c"sv},
    {"CR in the value", "A: b\rc"},
    {"LF in the value", "A: b\nC: d"},
    {"space before the colon", "A : b"},
    {"tab before the colon", "A\t: b"},
    {"no colon", "Ab"},
    {"empty name", ": b"},
    {"folded", "A: b\r\n c"},
    {"folded with a tab", "A: b\r\n\tc"},
    {"name outside ASCII", "\xc3\xa4: b"},
    {"name with a bracket", "A(b): c"},
    {"delete character", "A: \x7f"},
    {"second Host", "Host: y"},
};

inline constexpr RefusedText refused_messages[] = {
    {"a control character before the encoding",
     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0b"
     "chunked\r\n\r\n0\r\n\r\n"},
    {"a folded encoding",
     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunk\r\n ed\r\n\r\n0\r\n\r\n"},
    {"length and encoding",
     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n"},
    {"encoding and length",
     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: "
     "5\r\n\r\n0\r\n\r\n"},
    {"two equal lengths",
     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"},
    {"two lengths",
     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"},
    {"two encodings",
     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n"},
    {"encoding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {"folded first line", "GET / HTTP/1.1\r\n Host: x\r\n\r\n"},
    {"only bare LF", "GET / HTTP/1.1\nHost: x\n\n"},
    {"no Host", "GET / HTTP/1.1\r\n\r\n"},
    {"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    {"Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"},
    {"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"tab", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"no version", "GET /\r\nHost: x\r\n\r\n"},
    {"small version", "GET / http/1.1\r\nHost: x\r\n\r\n"},
    {"long version", "GET / HTTP/1.10\r\nHost: x\r\n\r\n"},
    {"space after the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n"},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
    {"version 3", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505},
    {"a TLS hello", "\x16\x03\x01\x02", 400},
    {"two empty lines", "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"CR first", "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"space first", " GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"target without slash", "GET a HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"asterisk for GET", "GET * HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"target outside ASCII", "GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"absolute target with a user", "GET http://u@h/ HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"absolute target of another scheme", "GET ftp://h/ HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"TRACE", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405},
    {"CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
    {"unknown method", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501},
    {"method in small letters", "get / HTTP/1.1\r\nHost: x\r\n\r\n", 501},
    {"method with a bad character", "G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"unknown expectation", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: x\r\n\r\na",
     417},
    {"encoded body",
     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Encoding: gzip\r\n\r\na", 415},
    {"length above the limit", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413},
    {"largest length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n",
     413},
    {"valid, then invalid",
     "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nG(T / HTTP/1.1\r\n\r\n",
     400, 2},
    {"bytes after GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n\x01\x02", 400, 1},
};

// Written for limits of 16 KiB of head, 100 fields, 1000 bytes of body.
inline std::vector<RefusedRequest> refused_requests() {
    const std::string post = "POST / HTTP/1.1\r\nHost: x\r\n",
                      get = "GET / HTTP/1.1\r\nHost: x\r\n";
    const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
    std::string many;
    for (int i = 0; i < 100; ++i) many += "A: b\r\n";
    std::vector<RefusedRequest> rows{
        {"64 KiB of extension",
         chunked + "5;" + std::string(65536, 'a') + "\r\nhello\r\n0\r\n\r\n"},
        {"too much data", chunked + "3e9\r\n" + std::string(1001, 'x') + "\r\n0\r\n\r\n", 413},
        {"endless trailer", chunked + "0\r\n" + std::string(9000, 'a'), 431},
        {"16 KiB and one byte",
         get + "A: " + std::string(16 * 1024 + 1 - get.size() - 3 - 4, 'v') + "\r\n\r\n", 431},
        {"101 fields", get + many + "\r\n", 431},
        {"endless head", get + std::string(20'000, 'a'), 431},
        {"endless request line", "GET /" + std::string(20'000, 'a'), 431}};
    const auto add = [&](const RefusedText& row, const std::string& before, const char* after) {
        rows.push_back({std::string(row.what), before + std::string(row.text) + after, row.status,
                        row.served_before});
    };
    const std::string body = "\r\n\r\n" + std::string(80, 'x');
    for (const std::string_view length : refused_lengths)
        add({length, length}, post + "Content-Length: ", body.c_str());
    for (const std::string_view encoding : refused_encodings)
        add({encoding, encoding, 501}, post + "Transfer-Encoding: ", "\r\n\r\n0\r\n\r\n");
    for (const std::string_view path : refused_paths)
        add({path, path}, "GET ", " HTTP/1.1\r\nHost: x\r\n\r\n");
    for (const RefusedText& chunks : refused_chunks) add(chunks, chunked, "");
    for (const RefusedText& field : refused_fields) add(field, get, "\r\n\r\n");
    for (const RefusedText& message : refused_messages) add(message, "", "");
    return rows;
}

}  // namespace holdfast::http::testing
