// Requests that must be refused, for the parser's and the server's tests.
#pragma once

#include <string>
#include <vector>

namespace holdfast::http::testing {

struct RefusedRequest {
    std::string what;
    std::string bytes;
    int status = 400;
    std::size_t served_before = 0;  // requests in `bytes` before the refused one
};

// Written for limits of 16 KiB of head, 100 fields, 1000 bytes of body.
inline std::vector<RefusedRequest> refused_requests() {
    const std::string post = "POST / HTTP/1.1\r\nHost: x\r\n";
    const std::string get = "GET / HTTP/1.1\r\nHost: x\r\n";
    const std::string nul(1, '\0');
    std::vector<RefusedRequest> rows;
    const auto add = [&](std::string what, std::string bytes, int status = 400,
                         std::size_t served = 0) {
        rows.push_back({std::move(what), std::move(bytes), status, served});
    };
    const auto length = [&](const std::string& value) {
        add("Content-Length '" + value + "'",
            post + "Content-Length: " + value + "\r\n\r\n" + std::string(80, 'x'));
    };
    for (const char* value : {"+5", "-48", "0x10", "1_0", "010", "", "1Z", "18446744073709551616",
                              "5, 5", "5 5", "00", "1.0", "99999999999999999999999999"}) {
        length(value);
    }
    add("length and encoding",
        post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    add("encoding and length",
        post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
    add("two equal lengths", post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
    add("two lengths", post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello");

    const auto encoding = [&](const std::string& value, int status) {
        add("Transfer-Encoding '" + value + "'",
            post + "Transfer-Encoding: " + value + "\r\n\r\n0\r\n\r\n", status);
    };
    for (const char* value :
         {",chunked", "chunked;x=1", "xchunked", "identity", "chunked, identity", "gzip, chunked",
          "chunked,chunked", "\"chunked\"", ""}) {
        encoding(value, 501);
    }
    encoding(
        "\x0b"
        "chunked",
        400);
    encoding("chunk\r\n ed", 400);
    add("two encodings",
        post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    add("encoding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");

    const auto chunks = [&](const std::string& what, const std::string& body, int status = 400) {
        add("chunks: " + what, post + "Transfer-Encoding: chunked\r\n\r\n" + body, status);
    };
    chunks("empty size", "\r\n\r\n");
    chunks("0x", "0x5\r\nhello\r\n0\r\n\r\n");
    chunks("plus", "+5\r\nhello\r\n0\r\n\r\n");
    chunks("underscore", "1_0\r\nhello\r\n0\r\n\r\n");
    chunks("leading space", " 5\r\nhello\r\n0\r\n\r\n");
    chunks("trailing space", "5 \r\nhello\r\n0\r\n\r\n");
    chunks("17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n");
    chunks("huge", "ffffffffffffffff\r\nhello", 413);
    chunks("valid, then junk", "5\r\nhelloX\r\n0\r\n\r\n");
    chunks("bare LF after the size", "5\nhello\r\n0\r\n\r\n");
    chunks("bare LF after the data", "5\r\nhello\n0\r\n\r\n");
    chunks("CR and something", "5\rXhello\r\n0\r\n\r\n");
    chunks("CR and something after the data", "5\r\nhello\rX0\r\n\r\n");
    chunks("NUL in the extension", "5;a" + nul + "\r\nhello\r\n0\r\n\r\n");
    chunks("LF in the extension", "5;a\n\r\nhello\r\n0\r\n\r\n");
    chunks("bare semicolon", "5;\r\nhello\r\n0\r\n\r\n");
    chunks("empty extension value", "5;a=\r\nhello\r\n0\r\n\r\n");
    chunks("text after a quoted value", "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n");
    chunks("64 KiB of extension", "5;" + std::string(65536, 'a') + "\r\nhello\r\n0\r\n\r\n");
    chunks("too much data", "3e9\r\n" + std::string(1001, 'x') + "\r\n0\r\n\r\n", 413);
    chunks("bare LF in the trailer", "0\r\nA: b\n\r\n");
    chunks("bad trailer", "0\r\nA b\r\n\r\n");
    chunks("folded trailer", "0\r\nA: b\r\n c\r\n\r\n");
    chunks("endless trailer", "0\r\n" + std::string(9000, 'a'), 431);

    const auto line = [&](const std::string& what, const std::string& text, int status = 400) {
        add("header: " + what, get + text + "\r\n\r\n", status);
    };
    line("NUL in the name", "A" + nul + "b: c");
    line("NUL in the value", "A: b" + nul + "c");
    line("CR in the value", "A: b\rc");
    line("LF in the value", "A: b\nC: d");
    line("space before the colon", "A : b");
    line("tab before the colon", "A\t: b");
    line("no colon", "Ab");
    line("empty name", ": b");
    line("folded", "A: b\r\n c");
    line("folded with a tab", "A: b\r\n\tc");
    line("name outside ASCII", "\xc3\xa4: b");
    line("name with a bracket", "A(b): c");
    line("delete character", "A: \x7f");
    line("second Host", "Host: y");
    line("16 KiB and one byte", "A: " + std::string(16 * 1024 + 1 - get.size() - 3 - 4, 'v'), 431);
    std::string many;
    for (int i = 0; i < 100; ++i) many += "A: b\r\n";
    add("101 fields", get + many + "\r\n", 431);
    add("folded first line", "GET / HTTP/1.1\r\n Host: x\r\n\r\n");
    add("only bare LF", "GET / HTTP/1.1\nHost: x\n\n");
    add("endless head", get + std::string(20'000, 'a'), 431);
    add("endless request line", "GET /" + std::string(20'000, 'a'), 431);

    add("no Host", "GET / HTTP/1.1\r\n\r\n");
    add("Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
    add("Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n");
    add("two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n");
    add("tab", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n");
    add("space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n");
    add("no version", "GET /\r\nHost: x\r\n\r\n");
    add("small version", "GET / http/1.1\r\nHost: x\r\n\r\n");
    add("long version", "GET / HTTP/1.10\r\nHost: x\r\n\r\n");
    add("space after the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n");
    add("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    add("version 3", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505);
    add("a TLS hello", "\x16\x03\x01\x02", 400);
    add("two empty lines", "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    add("CR first", "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    add("space first", " GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    add("target without slash", "GET a HTTP/1.1\r\nHost: x\r\n\r\n");
    add("asterisk for GET", "GET * HTTP/1.1\r\nHost: x\r\n\r\n");
    add("fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n");
    add("target outside ASCII", "GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n");
    add("absolute target with a user", "GET http://u@h/ HTTP/1.1\r\nHost: x\r\n\r\n");
    add("absolute target of another scheme", "GET ftp://h/ HTTP/1.1\r\nHost: x\r\n\r\n");
    for (const char* path : {"/%00", "/%0d%0aX", "/%", "/%1", "/%zz", "/%7f", "/../a", "/a/..",
                             "/a/%2e%2e/b", "/./a", "/a/."}) {
        add("path " + std::string(path),
            "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    }

    add("TRACE", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405);
    add("CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405);
    add("unknown method", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501);
    add("method in small letters", "get / HTTP/1.1\r\nHost: x\r\n\r\n", 501);
    add("method with a bad character", "G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    add("unknown expectation", post + "Content-Length: 1\r\nExpect: x\r\n\r\na", 417);
    add("encoded body", post + "Content-Length: 1\r\nContent-Encoding: gzip\r\n\r\na", 415);
    add("length above the limit", post + "Content-Length: 1001\r\n\r\n", 413);
    add("largest length", post + "Content-Length: 18446744073709551615\r\n\r\n", 413);
    add("valid, then invalid", get + "\r\n" + get + "\r\nG(T / HTTP/1.1\r\n\r\n", 400, 2);
    add("bytes after GET", get + "\r\n\x01\x02", 400, 1);
    return rows;
}

}  // namespace holdfast::http::testing
