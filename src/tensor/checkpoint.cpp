#include "tensor/checkpoint.h"

#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

namespace holdfast::tensor {
namespace {

using base::Code;
namespace dom = simdjson::dom;

constexpr std::size_t index_bytes_max = 100'000'000;
constexpr std::string_view single_name = "model.safetensors";
constexpr std::string_view index_name = "model.safetensors.index.json";

// A shard's name comes from a file that may be hostile: it must not lead out of the folder.
bool is_plain_file_name(std::string_view name) {
    return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
           name.find('/') == name.npos && name.find('\0') == name.npos;
}

// (tensor, shard) pairs of the index file.
base::Result<std::vector<std::pair<std::string, std::string>>> read_index(const std::string& path) {
    HF_TRY_ASSIGN(const std::string text, read_text(path, index_bytes_max));
    dom::parser parser;
    dom::element root;
    if (const auto error = parser.parse(text).get(root))
        return base::fail(Code::invalid, "{}: not JSON: {}", path, simdjson::error_message(error));
    dom::object map;
    if (root["weight_map"].get(map))
        return base::fail(Code::invalid, "{}: no object \"weight_map\"", path);
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const auto [tensor, value] : map) {
        std::string_view shard;
        if (value.get(shard) || !is_plain_file_name(shard))
            return base::fail(Code::invalid,
                              "{}: weight_map of \"{}\" is not the plain name of a file in the "
                              "folder",
                              path, tensor);
        pairs.emplace_back(tensor, shard);
    }
    return pairs;
}

}  // namespace

base::Result<Checkpoint> Checkpoint::open(const std::string& folder) {
    Checkpoint checkpoint(folder);
    const std::string single = fmt::format("{}/{}", folder, single_name);
    const std::string index = fmt::format("{}/{}", folder, index_name);
    std::error_code ignored;
    if (std::filesystem::exists(single, ignored)) {
        HF_TRY(checkpoint.add_file(std::string(single_name)));
    } else if (std::filesystem::exists(index, ignored)) {
        HF_TRY(checkpoint.add_shards(index));
    } else {
        return base::fail(Code::not_found,
                          "{}: neither {} nor {} (pickled weights are not read: convert them)",
                          folder, single_name, index_name);
    }
    HF_TRY(checkpoint.sort_and_refuse_twins());
    return checkpoint;
}

base::Result<> Checkpoint::add_file(const std::string& name) {
    const std::string path = fmt::format("{}/{}", folder_, name);
    HF_TRY_ASSIGN(FileMap file, FileMap::open(path));
    HF_TRY_ASSIGN(std::vector<Tensor> tensors, parse_safetensors(file.bytes(), path));
    files_.push_back(std::move(file));
    std::ranges::move(tensors, std::back_inserter(tensors_));
    return {};
}

base::Result<> Checkpoint::add_shards(const std::string& index_path) {
    HF_TRY_ASSIGN(const auto pairs, read_index(index_path));
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : pairs) shards.insert(shard);
    for (const std::string& shard : shards) {
        const std::size_t before = tensors_.size();
        HF_TRY(add_file(shard));
        std::set<std::string_view> inside;
        for (std::size_t i = before; i < tensors_.size(); ++i) inside.insert(tensors_[i].name);
        for (const auto& [tensor, named_shard] : pairs)
            if (named_shard == shard && !inside.contains(tensor))
                return base::fail(Code::invalid, "{}: tensor \"{}\" is not in {}", index_path,
                                  tensor, shard);
    }
    return {};
}

base::Result<> Checkpoint::sort_and_refuse_twins() {
    std::ranges::sort(tensors_, {}, &Tensor::name);
    const auto twin = std::ranges::adjacent_find(tensors_, {}, &Tensor::name);
    if (twin != tensors_.end())
        return base::fail(Code::invalid, "{}: tensor \"{}\" occurs in two shards", folder_,
                          twin->name);
    return {};
}

base::Result<const Tensor*> Checkpoint::get(std::string_view name,
                                            std::initializer_list<std::uint64_t> shape) const {
    const auto found = std::ranges::lower_bound(tensors_, name, {}, &Tensor::name);
    if (found == tensors_.end() || found->name != name)
        return base::fail(Code::invalid, "{}: tensor \"{}\" with shape [{}] is missing", folder_,
                          name, fmt::join(shape, ", "));
    if (!std::ranges::equal(found->shape, shape))
        return base::fail(Code::invalid, "{}: tensor \"{}\" has shape [{}], expected [{}]",
                          found->file, name, fmt::join(found->shape, ", "), fmt::join(shape, ", "));
    if (found->type == DataType::other)
        return base::fail(Code::invalid,
                          "{}: tensor \"{}\" has dtype {}, only BF16, F16 and F32 "
                          "are supported",
                          found->file, name, found->type_name);
    return &*found;
}

}  // namespace holdfast::tensor
