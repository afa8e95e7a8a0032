#include "tools/hub/digest.h"

#include <gtest/gtest.h>

namespace holdfast::hub {
namespace {

std::string digest_of(Checksum::Kind kind, std::string_view text) {
    Digest digest(kind, text.size());
    digest.add(std::as_bytes(std::span(text.substr(0, 2))));
    digest.add(std::as_bytes(std::span(text.substr(2))));
    return digest.hex();
}

// FIPS 180-2, appendix B.1.
TEST(Digest, IsSha256) {
    EXPECT_EQ(digest_of(Checksum::Kind::sha256, "abc"),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(sha256_hex("abc"), digest_of(Checksum::Kind::sha256, "abc"));
}

// The example of https://git-scm.com/book/en/v2/Git-Internals-Git-Objects.
TEST(Digest, IsTheNameThatGitGives) {
    EXPECT_EQ(digest_of(Checksum::Kind::git, "what is up, doc?"),
              "bd9dbf5aae1a3862dd1526723246b20206e5fc37");
}

TEST(MakeChecksum, TakesNothingButTheRightNumberOfDigits) {
    EXPECT_EQ(make_checksum(Checksum::Kind::git, std::string(40, 'A')).hex, std::string(40, 'a'));
    for (const auto& text : {std::string(), std::string(39, 'a'), std::string(40, 'g')})
        EXPECT_EQ(make_checksum(Checksum::Kind::git, text), Checksum{});
    EXPECT_EQ(make_checksum(Checksum::Kind::sha256, std::string(40, 'a')), Checksum{});
}

}  // namespace
}  // namespace holdfast::hub
