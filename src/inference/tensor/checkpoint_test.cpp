#include "inference/tensor/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/test_damage.h"
#include "common/base/test_folder.h"
#include "inference/tensor/gguf_names.h"
#include "inference/tensor/test_gguf.h"

namespace holdfast::tensor {
namespace {

using gguf::ValueType;
using ::testing::AllOf;
using testing::GgufBytes;
using ::testing::HasSubstr;
using testing::raw;

constexpr std::uint32_t f32 = 0, q8_0 = 8, i32 = 26;

std::string floats(std::size_t count, char fill = 'x') { return std::string(4 * count, fill); }

class GgufCheckpoint : public ::testing::Test {
protected:
    base::Result<Checkpoint> open(const std::string& name) {
        return Checkpoint::open(folder_.path() + "/" + name);
    }
    void expect_refused(const std::string& name, const std::string& file,
                        const std::string& reason) {
        const auto checkpoint = open(name);
        ASSERT_FALSE(checkpoint) << reason;
        EXPECT_THAT(checkpoint.error().what, AllOf(HasSubstr(file), HasSubstr(reason)));
    }
    // Part `number` of `count`, with the keys that a split file has.
    GgufBytes part(std::uint16_t number, std::uint16_t count, std::int32_t tensors) {
        GgufBytes file;
        if (number == 0) file.text("general.architecture", "qwen2");
        file.value("split.no", ValueType::uint16, raw(number))
            .value("split.count", ValueType::uint16, raw(count))
            .value("split.tensors.count", ValueType::int32, raw(tensors));
        return file;
    }
    void write_three_parts() {
        write("m-00001-of-00003.gguf",
              part(0, 3, 3).tensor("token_embd.weight", {4}, f32, floats(4)));
        write("m-00002-of-00003.gguf",
              part(1, 3, 3).tensor("output_norm.weight", {2}, f32, floats(2)));
        write("m-00003-of-00003.gguf", part(2, 3, 3).tensor("output.weight", {4}, f32, floats(4)));
    }
    void write(const std::string& name, const GgufBytes& file) {
        folder_.write(name, file.bytes());
    }

    base::testing::TemporaryFolder folder_;
};

TEST(GgufNames, TranslateThereAndBack) {
    const std::pair<const char*, const char*> pairs[] = {
        {"token_embd.weight", "model.embed_tokens.weight"},
        {"output_norm.weight", "model.norm.weight"},
        {"output.weight", "lm_head.weight"},
        {"rope_freqs.weight", "rope_freqs.weight"},
        {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
        {"blk.17.attn_q.weight", "model.layers.17.self_attn.q_proj.weight"},
        {"blk.17.attn_k.bias", "model.layers.17.self_attn.k_proj.bias"},
        {"blk.10.attn_v.weight", "model.layers.10.self_attn.v_proj.weight"},
        {"blk.3.attn_output.weight", "model.layers.3.self_attn.o_proj.weight"},
        {"blk.3.ffn_norm.weight", "model.layers.3.post_attention_layernorm.weight"},
        {"blk.3.ffn_gate.weight", "model.layers.3.mlp.gate_proj.weight"},
        {"blk.3.ffn_up.weight", "model.layers.3.mlp.up_proj.weight"},
        {"blk.3.ffn_down.weight", "model.layers.3.mlp.down_proj.weight"},
    };
    for (const auto& [gguf, hugging_face] : pairs) {
        EXPECT_EQ(hugging_face_name(gguf), hugging_face);
        EXPECT_EQ(gguf_name(hugging_face), gguf);
    }
    for (const char* const unknown :
         {"", "blk.", "blk.1", "blk.1.", "blk.01.attn_q.weight", "blk..attn_q.weight",
          "blk.x.attn_q.weight", "blk.1.attn_output.bias", "blk.1.ffn_gate_exps.weight", "output"})
        EXPECT_EQ(hugging_face_name(unknown), std::nullopt) << unknown;
}

TEST_F(GgufCheckpoint, GivesTensorsUnderTheNamesOfTheFolder) {
    write("m.gguf", GgufBytes()
                        .text("general.architecture", "qwen2")
                        .tensor("blk.1.attn_q.weight", {2, 32}, q8_0, std::string(68, 'q'))
                        .tensor("blk.1.attn_q.bias", {2}, f32, floats(2))
                        .tensor("output_norm.weight", {4}, i32, floats(4)));
    const auto checkpoint = open("m.gguf");
    ASSERT_TRUE(checkpoint) << checkpoint.error().what;
    EXPECT_FALSE(checkpoint->has_interleaved_heads());
    EXPECT_EQ(checkpoint->tensors().size(), 3U);
    const auto found = checkpoint->get("model.layers.1.self_attn.q_proj.weight", {2, 32});
    ASSERT_TRUE(found) << found.error().what;
    EXPECT_EQ((*found)->type, DataType::q8_0);
    EXPECT_EQ((*found)->bytes.size(), 68U);
    EXPECT_EQ(checkpoint->find("lm_head.weight"), nullptr);
    EXPECT_THAT(checkpoint->get("lm_head.weight", {1, 2}).error().what,
                AllOf(HasSubstr("m.gguf"), HasSubstr("[1, 2] is missing")));
    EXPECT_THAT(checkpoint->get("model.layers.1.self_attn.q_proj.bias", {3}).error().what,
                HasSubstr("has shape [2], expected [3]"));
    EXPECT_THAT(checkpoint->get("model.norm.weight", {4}).error().what,
                HasSubstr("has type I32, which is not supported"));
}

TEST_F(GgufCheckpoint, KnowsThatLlamaInterleavesItsHeads) {
    write("m.gguf", GgufBytes().text("general.architecture", "llama"));
    EXPECT_TRUE(open("m.gguf")->has_interleaved_heads());
}

TEST_F(GgufCheckpoint, RefusesTensorsThatWouldBeIgnored) {
    write("m.gguf", GgufBytes().tensor("blk.0.attn_output.bias", {2}, f32, floats(2)));
    expect_refused("m.gguf", "m.gguf", "\"blk.0.attn_output.bias\" is none of the Qwen2 or Llama");
}

TEST_F(GgufCheckpoint, SaysThatAPointerOfGitLfsIsNoFileOfWeights) {
    const std::string pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    folder_.write("m.gguf", pointer);
    expect_refused("m.gguf", "m.gguf: is a Git LFS pointer", "git lfs pull");
    std::filesystem::create_directory(folder_.path() + "/folder");
    folder_.write("folder/model.safetensors", pointer);
    expect_refused("folder", "model.safetensors: is a Git LFS pointer", "git lfs pull");
}

TEST(FolderCheckpoint, SurvivesADamagedIndex) {
    const base::testing::TemporaryFolder folder;
    const auto shard = [](const std::string& tensor) {
        const std::string header =
            fmt::format(R"({{"{}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}})", tensor);
        return raw(std::uint64_t{header.size()}) + header + "1234";
    };
    folder.write("model-1.safetensors", shard("model.norm.weight"));
    folder.write("model-2.safetensors", shard("lm_head.weight"));
    base::testing::expect_survives_damage(
        R"({"metadata":{"total_size":8},"weight_map":{"lm_head.weight":"model-2.safetensors",)"
        R"("model.norm.weight":"model-1.safetensors"}})",
        folder.path(), [&](const std::string& index) {
            folder.write("model.safetensors.index.json", index);
            return Checkpoint::open(folder.path());
        });
}

TEST_F(GgufCheckpoint, ReadsAllPartsOfASplitFile) {
    write_three_parts();
    const auto checkpoint = open("m-00001-of-00003.gguf");
    ASSERT_TRUE(checkpoint) << checkpoint.error().what;
    EXPECT_TRUE(checkpoint->get("model.embed_tokens.weight", {4}));
    EXPECT_TRUE(checkpoint->get("model.norm.weight", {2}));
    EXPECT_THAT(checkpoint->find("lm_head.weight")->file, HasSubstr("m-00003-of-00003.gguf"));
}

TEST_F(GgufCheckpoint, RefusesSplitFilesWhosePartsDoNotFit) {
    write_three_parts();
    expect_refused("m-00002-of-00003.gguf", "m-00002", "name the first part");
    write("x.gguf", part(0, 3, 3));
    expect_refused("x.gguf", "x.gguf", "does not end in -00001-of-00003.gguf");
    write("x.gguf", part(0, 60'000, 3));
    expect_refused("x.gguf", "x.gguf", "split.count 60000 exceeds");
    write("m-00002-of-00003.gguf", part(2, 3, 3));
    expect_refused("m-00001-of-00003.gguf", "m-00002", "is not part 1 of 3");
    write("m-00002-of-00003.gguf", GgufBytes());
    expect_refused("m-00001-of-00003.gguf", "m-00002", "is not part 1 of 3");
    write("m-00002-of-00003.gguf", part(1, 3, 3));
    expect_refused("m-00001-of-00003.gguf", "m-00001",
                   "split.tensors.count is 3, the 3 parts hold 2");
    write("m-00002-of-00003.gguf", part(1, 3, 3).tensor("output.weight", {2}, f32, floats(2)));
    expect_refused("m-00001-of-00003.gguf", "m-00001", "occurs in two shards");
    std::filesystem::remove(folder_.path() + "/m-00002-of-00003.gguf");
    expect_refused("m-00001-of-00003.gguf", "m-00002", "No such file");
}

}  // namespace
}  // namespace holdfast::tensor
