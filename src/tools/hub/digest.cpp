#include "tools/hub/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "common/base/assert.h"

namespace holdfast::hub {

Checksum make_checksum(Checksum::Kind kind, std::string_view hex) {
    const std::size_t length = kind == Checksum::Kind::sha256 ? 64 : 40;
    Checksum sum{kind, std::string(hex)};
    for (char& c : sum.hex) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool sound = kind != Checksum::Kind::none && hex.size() == length &&
                       sum.hex.find_first_not_of("0123456789abcdef") == std::string::npos;
    return sound ? sum : Checksum{};
}

std::string_view name(Checksum::Kind kind) {
    switch (kind) {
        case Checksum::Kind::none:
            return "none";
        case Checksum::Kind::sha256:
            return "sha256";
        case Checksum::Kind::git:
            return "git";
    }
    std::unreachable();
}

void Digest::Free::operator()(evp_md_ctx_st* context) const { ::EVP_MD_CTX_free(context); }

Digest::Digest(Checksum::Kind kind, std::uint64_t size) : context_(::EVP_MD_CTX_new()) {
    const auto* algorithm = kind == Checksum::Kind::git ? ::EVP_sha1() : ::EVP_sha256();
    HF_ASSERT(kind != Checksum::Kind::none);
    HF_ASSERT(::EVP_DigestInit_ex(context_.get(), algorithm, nullptr) == 1);
    if (kind != Checksum::Kind::git) return;
    auto header = fmt::format("blob {}", size);
    header.push_back('\0');
    add(std::as_bytes(std::span(header)));
}

void Digest::add(std::span<const std::byte> bytes) {
    HF_ASSERT(::EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

std::string Digest::hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
    unsigned size = 0;
    HF_ASSERT(::EVP_DigestFinal_ex(context_.get(), value.data(), &size) == 1);
    std::string out;
    for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", value[i]);
    return out;
}

std::string sha256_hex(std::string_view text) {
    Digest digest(Checksum::Kind::sha256, text.size());
    digest.add(std::as_bytes(std::span(text)));
    return digest.hex();
}

}  // namespace holdfast::hub
