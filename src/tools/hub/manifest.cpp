#include "tools/hub/manifest.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/base/unique_fd.h"
#include "common/json/writer.h"
#include "tools/hub/part.h"
#include "tools/hub/reference.h"

namespace holdfast::hub {
namespace {

using base::Code;
using base::fail;
using simdjson::dom::array;
using simdjson::dom::element;

std::string text_of(const element& object, std::string_view name) {
    std::string_view text;
    return object[name].get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
}

std::string to_json(const Manifest& manifest) {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.string("repo", manifest.repo);
    json.string("endpoint", manifest.endpoint);
    json.string("revision", manifest.revision);
    json.string("commit", manifest.commit);
    json.string("file", manifest.file);
    json.number("pulled_at", manifest.pulled_at);
    json.key("files");
    json.begin_array();
    for (const RemoteFile& file : manifest.files) {
        json.begin_object();
        json.string("path", file.path);
        json.number("size", file.size);
        if (file.checksum.kind != Checksum::Kind::none)
            json.string(name(file.checksum.kind), file.checksum.hex);
        json.end_object();
    }
    json.end_array();
    json.end_object();
    return out + '\n';
}

}  // namespace

std::string Manifest::served_file() const {
    if (file.empty()) return {};
    const auto found = std::ranges::find_if(
        files, [](const RemoteFile& one) { return one.path.ends_with(".gguf"); });
    return found == files.end() ? std::string() : found->path;
}

std::uint64_t Manifest::bytes() const {
    std::uint64_t sum = 0;
    for (const RemoteFile& one : files) sum += one.size;
    return sum;
}

std::string content_id(const std::vector<RemoteFile>& files) {
    std::string text;
    for (const RemoteFile& file : files)
        text += fmt::format("{}\n{}\n{} {}\n", file.path, file.size, name(file.checksum.kind),
                            file.checksum.hex);
    return sha256_hex(text).substr(0, 16);
}

base::Result<Manifest> read_manifest(const std::string& folder) {
    const auto path = folder + "/" + manifest_name;
    simdjson::dom::parser parser;
    element root;
    array files;
    if (::access(path.c_str(), R_OK) != 0)
        return fail(Code::not_found, "{}: {}", path, std::strerror(errno));
    if (parser.load(path).get(root) != simdjson::SUCCESS ||
        root["files"].get(files) != simdjson::SUCCESS)
        return fail(Code::corrupt, "{} is damaged", path);
    Manifest out{.repo = text_of(root, "repo"),
                 .endpoint = text_of(root, "endpoint"),
                 .revision = text_of(root, "revision"),
                 .commit = text_of(root, "commit"),
                 .file = text_of(root, "file")};
    // A time that is missing is as old as can be.
    if (root["pulled_at"].get(out.pulled_at) != simdjson::SUCCESS) out.pulled_at = 0;
    for (const element entry : files) {
        RemoteFile file{.path = text_of(entry, "path")};
        if (entry["size"].get(file.size) != simdjson::SUCCESS || !check_file_name(file.path))
            return fail(Code::corrupt, "{} is damaged", path);
        for (const auto kind : {Checksum::Kind::sha256, Checksum::Kind::git})
            if (const auto hex = text_of(entry, name(kind)); !hex.empty())
                file.checksum = make_checksum(kind, hex);
        out.files.push_back(std::move(file));
    }
    return out;
}

base::Result<> write_manifest(const std::string& folder, const Manifest& manifest) {
    const auto path = folder + "/" + manifest_name, next = path + ".new";
    const base::UniqueFd file(
        ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file) {
        const bool is_full = errno == ENOSPC || errno == EDQUOT;
        return fail(is_full ? Code::overloaded : Code::internal, "cannot write {}: {}", next,
                    std::strerror(errno));
    }
    const auto text = to_json(manifest);
    HF_TRY(write_at(file.get(), next, std::as_bytes(std::span(text)), 0));
    if (::fsync(file.get()) != 0 || ::rename(next.c_str(), path.c_str()) != 0)
        return fail(Code::internal, "cannot write {}: {}", path, std::strerror(errno));
    return {};
}

bool is_complete(const std::string& folder, const Manifest& manifest) {
    return std::ranges::all_of(manifest.files, [&](const RemoteFile& file) {
        struct stat info = {};
        return ::stat((folder + "/" + file.path).c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
               static_cast<std::uint64_t>(info.st_size) == file.size;
    });
}

}  // namespace holdfast::hub
