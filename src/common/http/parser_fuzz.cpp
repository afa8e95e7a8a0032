// Feeds arbitrary bytes to the message parsers: once whole and once in pieces. Both must agree,
// because a parser that depends on how TCP cut the bytes can be smuggled past.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/assert.h"
#include "common/http/parser.h"
#include "common/http/request_reader.h"

namespace holdfast::http {
namespace {

std::string describe(std::string_view bytes, std::size_t piece_max) {
    RequestReader reader({1024, 20}, 512);
    std::string seen;
    while (!bytes.empty()) {
        std::string_view piece = bytes.substr(0, piece_max);
        bytes.remove_prefix(piece.size());
        while (!piece.empty()) {
            const auto taken = reader.feed(piece);
            if (!taken) return seen + "refused " + std::to_string(taken.error().status);
            HF_ASSERT(reader.complete() || *taken == piece.size());
            piece.remove_prefix(*taken);
            if (!reader.complete()) continue;
            const RequestHead head = reader.take();
            HF_ASSERT(head.request.body.size() <= 512);
            HF_ASSERT(head.request.path.find_first_of(std::string_view("\0\r\n", 3)) ==
                      std::string::npos);
            seen += head.request.method + " " + head.request.path + "\n" + head.request.body + "\n";
        }
    }
    return seen;
}

}  // namespace
}  // namespace holdfast::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast::http;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const std::string whole = describe(bytes, bytes.size());
    HF_ASSERT(describe(bytes, 1) == whole);
    HF_ASSERT(describe(bytes, 7) == whole);
    HeadScanner scanner({1024, 20});
    if (const auto end = scanner.scan(bytes); end && *end > 0) {
        [[maybe_unused]] const auto head = parse_response_head(bytes.substr(0, *end), "GET");
    }
    return 0;
}
