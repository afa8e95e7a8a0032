// Text to token ids and back, exactly as the `tokenizers` package does it for the same model.
// Known exceptions are rare characters that the Unicode tables of the two treat differently: the
// order of a few combining marks (such as U+0EBA) under NFC, and digits new in Unicode 16.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"

namespace holdfast::text {

using chat::TokenId;

// Byte-level BPE with the split patterns of Qwen2 (with NFC) and Llama 3. Immutable after load; any
// thread may call. Cost is O(n log n) in the text's length for every text.
class Tokenizer {
public:
    virtual ~Tokenizer() = default;
    // Ids of `text`. Added tokens written out in the text become their ids, as in Hugging Face;
    // nothing (no BOS) is added. Bytes that are not UTF-8 are kept: they count as symbols where
    // words are split. `text` must be shorter than 4 GiB.
    virtual std::vector<TokenId> encode(std::string_view text) const = 0;
    // The bytes that a token stands for: perhaps half a character. Special tokens give their name;
    // ids without a token (padding rows) give an empty view.
    virtual std::string_view bytes(TokenId id) const = 0;
    // How the vocabulary spells the token: in printable characters, each for a byte, but added
    // tokens as they are. Nothing is lost in it, even of half a character.
    virtual std::string spelling(TokenId id) const { return std::string(bytes(id)); }
    // Special tokens (BOS, EOS) make no text in an answer. Which tokens are special is what
    // tokenizer.json says: in R1's, <think>, <｜User｜> and the tool marks are not.
    virtual bool is_special(TokenId id) const = 0;
    virtual bool exists(TokenId id) const = 0;  // false for padding rows: masked in sampling
    // What the model's metadata wants before a prompt of plain text: its beginning-of-sequence
    // token, or nothing.
    virtual std::span<const TokenId> beginning() const { return {}; }
    // Puts that before ids that do not begin so already.
    void begin(std::vector<TokenId>& ids) const;
    // The token with these bytes, added tokens first.
    virtual std::optional<TokenId> find(std::string_view token) const = 0;
    virtual TokenId size() const = 0;  // largest id + 1
};

// Reads the tokenizer.json of a folder, and what its tokenizer_config.json says about BOS, or the
// metadata of a GGUF file. Errors name file, field and reason; an id at or above `vocab_rows` (rows
// of the model's embedding) is refused.
base::Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::string& path,
                                                              TokenId vocab_rows);

// Ids to text, one at a time; never emits half a character. One per choice.
class Detokenizer {
public:
    explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
    // Whole characters that became complete with this id, perhaps none. Bytes that can no longer
    // become a character give U+FFFD, as Python's errors="replace" does.
    std::string feed(TokenId id);
    // What is left at the end, U+FFFD for half a character.
    std::string flush();

private:
    const Tokenizer& tokenizer_;
    std::string pending_;
};

struct ChatFormat;
enum class PromptEnd : std::uint8_t;

// How a model wants conversations written. Immutable; any thread may call.
class ChatTemplate {
public:
    ChatTemplate();  // of R1's distills, without a BOS
    // `path` is a folder or a GGUF file. Without a `choice` the template of the R1 family is
    // recognised in chat_template.jinja, or else in tokenizer_config.json, or in the file's
    // metadata; any other template is refused with a clear message. A `choice` is the name of a
    // known template or a JSON file, which text/chat_format.h describes. No template is executed.
    static base::Result<ChatTemplate> load(const std::string& path, const std::string& choice = {});
    // The whole prompt, BOS included, ending in the generation prompt, except after tool outputs:
    // there the family's templates add none. The BOS is text, which Tokenizer::encode makes an id.
    std::string render(std::span<const chat::Message> messages) const;
    // The same with another end. invalid where the last message cannot be left open.
    base::Result<std::string> render(std::span<const chat::Message> messages, PromptEnd end) const;
    // The generation prompt opens <think>, so that output starts inside the thinking.
    bool opens_thinking() const;
    // The same for the prompt of these messages: false where it ends in tool outputs.
    bool opens_thinking(std::span<const chat::Message> messages) const;

private:
    ChatTemplate(ChatFormat format, std::string bos);

    std::shared_ptr<const ChatFormat> format_;
    std::string bos_;
};

}  // namespace holdfast::text
