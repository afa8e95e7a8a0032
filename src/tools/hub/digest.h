// Checksums of pulled files, as hubs publish them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.h"

struct evp_md_ctx_st;

namespace holdfast::hub {

// What a hub says the content of a file is. `sha256` is that of the bytes (files in Git LFS, and
// every file at ModelScope); `git` is SHA-1 of "blob SIZE\0" and the bytes, the name of the file in
// Git (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).
struct Checksum {
    enum class Kind { none, sha256, git };
    Kind kind = Kind::none;
    std::string hex;  // lower case
    friend bool operator==(const Checksum&, const Checksum&) = default;
};

// Checksum{kind, hex} if `hex` has the right length and digits, in either case; none otherwise.
Checksum make_checksum(Checksum::Kind kind, std::string_view hex);
std::string_view name(Checksum::Kind kind);

// Computes one checksum over bytes that come in pieces. One thread.
class Digest {
public:
    // `kind` is not none; `size` is that of the whole content.
    Digest(Checksum::Kind kind, std::uint64_t size);
    void add(std::span<const std::byte> bytes);
    std::string hex();  // once, at the end

private:
    struct Free {
        void operator()(evp_md_ctx_st* context) const;
    };
    std::unique_ptr<evp_md_ctx_st, Free> context_;
};

std::string sha256_hex(std::string_view text);

}  // namespace holdfast::hub
