#include <fstream>
#include <utility>

#include "inference/tensor/gguf.h"
#include "inference/text/beginning.h"
#include "inference/text/chat_format.h"
#include "inference/text/json_file.h"
#include "inference/text/tokenizer.h"

namespace holdfast::text {
namespace {

using base::Code;
using base::Result;

constexpr std::uintmax_t config_bytes_max = 16 << 20;
constexpr std::uintmax_t template_bytes_max = 1 << 20;

// The source of a template, and what complaints call it.
struct Source {
    std::string text, where;
};

Result<Source> read_text_file(const std::string& path) {
    HF_TRY_ASSIGN(const auto size, checked_file_size(path, template_bytes_max));
    Source source{std::string(size, '\0'), path};
    std::ifstream file(path, std::ios::binary);
    file.read(source.text.data(), static_cast<std::streamsize>(size));
    if (!file) return base::fail(Code::corrupt, "{}: cannot be read", path);
    return source;
}

// A template, or a list of named ones among which "default" counts.
Result<Source> template_of_config(const JsonField& field) {
    if (!field.is_array()) {
        HF_TRY_ASSIGN(const auto text, field.string());
        return Source{std::string(text), field.where()};
    }
    HF_TRY_ASSIGN(const auto entries, field.elements());
    for (const JsonField& entry : entries) {
        HF_TRY_ASSIGN(const auto name, entry["name"].string());
        if (name != "default") continue;
        HF_TRY_ASSIGN(const auto text, entry["template"].string());
        return Source{std::string(text), entry.where()};
    }
    return field.fail(Code::invalid, "none of the {} templates is named \"default\"",
                      entries.size());
}

std::string remedy() {
    return fmt::format(
        "known are {}; --template NAME renders with one of them, --template FILE.json with a "
        "description of your own",
        known_format_names());
}

// What a model says about itself.
struct Model {
    virtual ~Model() = default;
    virtual Result<> open() = 0;
    // What a template's bos_token renders as: nothing where the model has none.
    virtual Result<std::string> bos() const = 0;
    virtual Result<Source> source() const = 0;
};

class Folder final : public Model {
public:
    explicit Folder(const std::string& path) : path_(path) {}

    Result<> open() override {
        return config_.open(path_ + "/tokenizer_config.json", config_bytes_max);
    }
    Result<std::string> bos() const override {
        HF_TRY_ASSIGN(auto token, bos_token(config_.root()));
        return std::move(token).value_or("");
    }
    Result<Source> source() const override {
        auto file = read_text_file(path_ + "/chat_template.jinja");
        if (file || file.error().code != Code::not_found) return file;
        const JsonField field = config_.root()["chat_template"];
        if (!field.present())
            return field.fail(Code::not_found,
                              "is missing, and there is no chat_template.jinja; {}", remedy());
        return template_of_config(field);
    }

private:
    const std::string& path_;
    JsonFile config_;
};

class GgufFile final : public Model {
public:
    explicit GgufFile(const std::string& path) : path_(path) {}

    Result<> open() override {
        HF_TRY_ASSIGN(file_, tensor::Gguf::open(path_));
        return {};
    }
    Result<std::string> bos() const override {
        HF_TRY_ASSIGN(auto token, bos_token(*file_));
        return std::move(token).value_or("");
    }
    Result<Source> source() const override {
        constexpr std::string_view key = "tokenizer.chat_template";
        HF_TRY_ASSIGN(const auto text, file_->text(key));
        if (!text)
            return base::fail(Code::not_found, "{}: {}: is missing; {}", path_, key, remedy());
        return Source{std::string(*text), fmt::format("{}: {}", path_, key)};
    }

private:
    const std::string& path_;
    std::optional<tensor::Gguf> file_;
};

std::unique_ptr<Model> model_at(const std::string& path) {
    if (tensor::is_gguf(path)) return std::make_unique<GgufFile>(path);
    return std::make_unique<Folder>(path);
}

bool ends_in_tool_outputs(std::span<const chat::Message> messages) {
    for (std::size_t i = messages.size(); i-- > 0;)
        if (messages[i].role != chat::Role::system) return messages[i].role == chat::Role::tool;
    return false;
}

Result<ChatFormat> recognise(const Source& source) {
    auto format = recognise_template(source.text);
    if (format) return format;
    return base::fail(Code::invalid, "{}: the chat template is unknown: {}; {}", source.where,
                      format.error().what, remedy());
}

// A known name, or a file.
Result<ChatFormat> chosen_format(const std::string& choice) {
    if (const ChatFormat* const known = find_format(choice)) return *known;
    if (choice.contains('/') || choice.ends_with(".json")) return read_format_file(choice);
    return base::fail(Code::not_found, "there is no template named \"{}\"; {}", choice, remedy());
}

}  // namespace

ChatTemplate::ChatTemplate(ChatFormat format, std::string bos)
    : format_(std::make_shared<const ChatFormat>(std::move(format))), bos_(std::move(bos)) {}

ChatTemplate::ChatTemplate() : ChatTemplate(*find_format("deepseek-r1-distill"), {}) {}

Result<ChatTemplate> ChatTemplate::load(const std::string& path, const std::string& choice) {
    const std::unique_ptr<Model> model = model_at(path);
    if (choice.empty()) {
        HF_TRY(model->open());
        HF_TRY_ASSIGN(std::string bos, model->bos());
        HF_TRY_ASSIGN(const Source source, model->source());
        HF_TRY_ASSIGN(ChatFormat format, recognise(source));
        return ChatTemplate(std::move(format), std::move(bos));
    }
    HF_TRY_ASSIGN(ChatFormat format, chosen_format(choice));
    if (format.begin) return ChatTemplate(std::move(format), {});
    HF_TRY(model->open());
    HF_TRY_ASSIGN(std::string bos, model->bos());
    return ChatTemplate(std::move(format), std::move(bos));
}

bool ChatTemplate::opens_thinking() const { return format_->opens_thinking(); }

bool ChatTemplate::opens_thinking(std::span<const chat::Message> messages) const {
    return opens_thinking() && !(format_->outputs && ends_in_tool_outputs(messages));
}

std::string ChatTemplate::render(std::span<const chat::Message> messages) const {
    return *render_chat(*format_, messages, bos_, PromptEnd::answer);
}

Result<std::string> ChatTemplate::render(std::span<const chat::Message> messages,
                                         PromptEnd end) const {
    return render_chat(*format_, messages, bos_, end);
}

}  // namespace holdfast::text
