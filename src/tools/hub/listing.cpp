#include "tools/hub/listing.h"

#include <simdjson.h>

#include "tools/hub/reference.h"

namespace holdfast::hub {
namespace {

using base::Code;
using base::fail;
using simdjson::dom::array;
using simdjson::dom::element;

std::string_view text_of(const element& object, std::string_view name) {
    std::string_view text;
    return object[name].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

// The names of fields differ from hub to hub, what is believed does not.
base::Result<> add_file(std::vector<RemoteFile>& files, std::string_view path, const element& entry,
                        std::string_view size_field, Checksum checksum) {
    if (files.size() >= listed_files_max)
        return fail(Code::corrupt, "lists more than {} files", listed_files_max);
    if (const auto safe = check_file_name(path); !safe)
        return fail(Code::corrupt,
                    "lists a file whose name {}, which no honest repository has; nothing was "
                    "written",
                    safe.error().what);
    std::uint64_t size = 0;
    if (entry[size_field].get(size) != simdjson::SUCCESS || size > file_bytes_max)
        return fail(Code::corrupt, "gives no believable size for {}", path);
    files.push_back({std::string(path), size, std::move(checksum)});
    return {};
}

std::unexpected<base::Error> no_list(std::string_view json) {
    const auto begin = json.find_first_not_of(" \t\r\n");
    if (begin != json.npos && json[begin] == '<')
        return fail(Code::corrupt,
                    "answered with a web page where a list of files was due; a proxy or a login "
                    "page may stand in between");
    return fail(Code::corrupt, "gave an answer that is no list of files");
}

}  // namespace

base::Result<> parse_tree_page(std::string_view json, std::vector<RemoteFile>& files) {
    simdjson::dom::parser parser;
    array entries;
    if (parser.parse(json.data(), json.size()).get(entries) != simdjson::SUCCESS)
        return no_list(json);
    for (const element entry : entries) {
        if (text_of(entry, "type") != "file") continue;
        auto checksum = make_checksum(Checksum::Kind::git, text_of(entry, "oid"));
        element lfs;
        if (entry["lfs"].get(lfs) == simdjson::SUCCESS && lfs.is_object())
            checksum = make_checksum(Checksum::Kind::sha256, text_of(lfs, "oid"));
        HF_TRY(add_file(files, text_of(entry, "path"), entry, "size", std::move(checksum)));
    }
    return {};
}

base::Result<> parse_modelscope_files(std::string_view json, std::vector<RemoteFile>& files) {
    simdjson::dom::parser parser;
    element root;
    array entries;
    if (parser.parse(json.data(), json.size()).get(root) != simdjson::SUCCESS) return no_list(json);
    if (root["Data"]["Files"].get(entries) != simdjson::SUCCESS) {
        const auto message = text_of(root, "Message");
        if (message.empty()) return no_list(json);
        return fail(Code::not_found, "says: {}", message.substr(0, 300));
    }
    for (const element entry : entries) {
        if (text_of(entry, "Type") == "tree") continue;
        HF_TRY(add_file(files, text_of(entry, "Path"), entry, "Size",
                        make_checksum(Checksum::Kind::sha256, text_of(entry, "Sha256"))));
    }
    return {};
}

base::Result<std::string> parse_commit(std::string_view json) {
    simdjson::dom::parser parser;
    element root;
    if (parser.parse(json.data(), json.size()).get(root) != simdjson::SUCCESS) return no_list(json);
    const auto commit = text_of(root, "sha");
    if (commit.size() < 40 || commit.size() > 64 ||
        commit.find_first_not_of("0123456789abcdef") != commit.npos)
        return fail(Code::corrupt, "does not say which commit the revision is");
    return std::string(commit);
}

std::string next_page(std::string_view link) {
    while (!link.empty()) {
        const auto open = link.find('<'), close = link.find('>');
        if (open == link.npos || close == link.npos || close < open) return {};
        const auto target = link.substr(open + 1, close - open - 1);
        const auto end = link.find(',', close);
        const auto attributes = link.substr(close, end == link.npos ? end : end - close);
        if (attributes.find("rel=\"next\"") != attributes.npos) {
            const auto scheme = target.find("://");
            const auto path = target.find('/', scheme == target.npos ? 0 : scheme + 3);
            return std::string(path == target.npos ? "" : target.substr(path));
        }
        link = end == link.npos ? std::string_view() : link.substr(end + 1);
    }
    return {};
}

}  // namespace holdfast::hub
