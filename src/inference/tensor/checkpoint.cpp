#include "inference/tensor/checkpoint.h"

#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "inference/tensor/gguf_names.h"

namespace holdfast::tensor {
namespace {

using base::Code;
namespace dom = simdjson::dom;

constexpr std::size_t index_bytes_max = 100'000'000;
constexpr std::uint64_t gguf_parts_max = 1'000;
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

// "…-00001-of-00003.gguf" with another number.
std::string part_path(const std::string& first, std::uint64_t part, std::uint64_t parts) {
    const std::string ending = fmt::format("-{:05}-of-{:05}.gguf", 1, parts);
    return fmt::format("{}-{:05}-of-{:05}.gguf", first.substr(0, first.size() - ending.size()),
                       part + 1, parts);
}

base::Result<> check_part(const Gguf& part, std::uint64_t number, std::uint64_t parts) {
    HF_TRY_ASSIGN(const auto own_number, part.integer("split.no"));
    HF_TRY_ASSIGN(const auto own_parts, part.integer("split.count"));
    if (own_number == number && own_parts == parts) return {};
    return base::fail(Code::invalid, "{}: split.no {} of split.count {} is not part {} of {}{}",
                      part.file(), own_number.value_or(0), own_parts.value_or(0), number, parts,
                      number == 0 ? "; name the first part" : "");
}

}  // namespace

base::Result<Checkpoint> Checkpoint::open(const std::string& path) {
    Checkpoint checkpoint(path);
    if (is_gguf(path)) {
        HF_TRY(checkpoint.add_gguf());
        HF_TRY(checkpoint.sort_and_refuse_twins());
        return checkpoint;
    }
    const std::string single = fmt::format("{}/{}", path, single_name);
    const std::string index = fmt::format("{}/{}", path, index_name);
    std::error_code ignored;
    if (std::filesystem::exists(single, ignored)) {
        HF_TRY(checkpoint.add_file(std::string(single_name)));
    } else if (std::filesystem::exists(index, ignored)) {
        HF_TRY(checkpoint.add_shards(index));
    } else {
        return base::fail(Code::not_found,
                          "{}: neither {} nor {} (pickled weights are not read: convert them)",
                          path, single_name, index_name);
    }
    HF_TRY(checkpoint.sort_and_refuse_twins());
    return checkpoint;
}

base::Result<> Checkpoint::add_file(const std::string& name) {
    const std::string path = fmt::format("{}/{}", path_, name);
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

base::Result<> Checkpoint::add_gguf() {
    HF_TRY_ASSIGN(Gguf first, Gguf::open(path_));
    HF_TRY_ASSIGN(const auto architecture, first.text("general.architecture"));
    interleaved_heads_ = architecture == "llama";
    HF_TRY_ASSIGN(const auto split_count, first.integer("split.count"));
    HF_TRY_ASSIGN(const auto expected, first.integer("split.tensors.count"));
    const std::uint64_t parts = std::max<std::uint64_t>(1, split_count.value_or(1));
    if (parts > gguf_parts_max)
        return base::fail(Code::invalid, "{}: split.count {} exceeds {}", path_, parts,
                          gguf_parts_max);
    if (parts > 1) {
        HF_TRY(check_part(first, 0, parts));
        if (path_ != part_path(path_, 0, parts))
            return base::fail(Code::invalid, "{}: one of {} parts, but its name does not end in {}",
                              path_, parts, fmt::format("-00001-of-{:05}.gguf", parts));
    }
    ggufs_.push_back(std::move(first));
    for (std::uint64_t i = 1; i < parts; ++i) {
        HF_TRY_ASSIGN(Gguf part, Gguf::open(part_path(path_, i, parts)));
        HF_TRY(check_part(part, i, parts));
        ggufs_.push_back(std::move(part));
    }
    for (const Gguf& part : ggufs_) HF_TRY(add_gguf_tensors(part));
    if (parts > 1 && expected && *expected != tensors_.size())
        return base::fail(Code::invalid, "{}: split.tensors.count is {}, the {} parts hold {}",
                          path_, *expected, parts, tensors_.size());
    return {};
}

base::Result<> Checkpoint::add_gguf_tensors(const Gguf& part) {
    for (const Tensor& tensor : part.tensors()) {
        auto name = hugging_face_name(tensor.name);
        if (!name)
            return base::fail(Code::invalid,
                              "{}: tensor \"{}\" is none of the Qwen2 or Llama architecture",
                              part.file(), tensor.name);
        tensors_.push_back(tensor);
        tensors_.back().name = *std::move(name);
    }
    return {};
}

base::Result<> Checkpoint::sort_and_refuse_twins() {
    std::ranges::sort(tensors_, {}, &Tensor::name);
    const auto twin = std::ranges::adjacent_find(tensors_, {}, &Tensor::name);
    if (twin != tensors_.end())
        return base::fail(Code::invalid, "{}: tensor \"{}\" occurs in two shards", path_,
                          twin->name);
    return {};
}

const Tensor* Checkpoint::find(std::string_view name) const {
    const auto found = std::ranges::lower_bound(tensors_, name, {}, &Tensor::name);
    return found == tensors_.end() || found->name != name ? nullptr : &*found;
}

base::Result<const Tensor*> Checkpoint::get(std::string_view name,
                                            std::initializer_list<std::uint64_t> shape) const {
    const Tensor* const found = find(name);
    if (found == nullptr)
        return base::fail(Code::invalid, "{}: tensor \"{}\" with shape [{}] is missing", path_,
                          name, fmt::join(shape, ", "));
    if (!std::ranges::equal(found->shape, shape))
        return base::fail(Code::invalid, "{}: tensor \"{}\" has shape [{}], expected [{}]",
                          found->file, name, fmt::join(found->shape, ", "), fmt::join(shape, ", "));
    if (found->type == DataType::other)
        return base::fail(Code::invalid,
                          "{}: tensor \"{}\" has type {}, which is not supported; supported are "
                          "BF16, F16, F32, Q8_0, Q4_0, Q4_K, Q5_K and Q6_K",
                          found->file, name, found->type_name);
    return found;
}

}  // namespace holdfast::tensor
