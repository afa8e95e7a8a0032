#include "tools/hub/reference.h"

#include <algorithm>

#include "common/base/trim.h"

namespace holdfast::hub {
namespace {

using base::Code;
using base::fail;

constexpr std::string_view word_characters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";

// A part of a repository's name: it becomes a folder, so it must be no way out of one.
bool is_word(std::string_view text) {
    return !text.empty() && text.size() <= 96 && text[0] != '.' && text[0] != '-' &&
           text.find_first_not_of(word_characters) == text.npos;
}

bool is_revision(std::string_view text) {
    if (text.empty() || text.size() > 200 || text.find("..") != text.npos) return false;
    const auto plain = [](char c) { return word_characters.find(c) != word_characters.npos; };
    return std::ranges::all_of(text, [&](char c) { return plain(c) || c == '/' || c == '+'; });
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

}  // namespace

std::string Reference::text() const {
    return repo + (revision.empty() ? "" : "@" + revision) + (file.empty() ? "" : ":" + file);
}

namespace {

// "https://huggingface.co/ORG/NAME/tree/REVISION", as copied from a browser, and "hf.co/ORG/NAME",
// as other programs write it, in our form.
std::string short_form(std::string_view text) {
    text = base::trimmed(text);
    for (const std::string_view scheme : {"https://", "http://"})
        if (text.starts_with(scheme)) text.remove_prefix(scheme.size());
    bool is_address = false;
    for (const std::string_view host : {"huggingface.co/", "www.huggingface.co/", "hf.co/",
                                        "modelscope.cn/models/", "www.modelscope.cn/models/"})
        if (!is_address && text.starts_with(host)) {
            text.remove_prefix(host.size());
            is_address = true;
        }
    std::string out(text);
    if (!is_address) return out;
    while (out.ends_with('/')) out.pop_back();
    const auto name = out.find('/');
    const auto tail = name == out.npos ? name : out.find('/', name + 1);
    if (tail == out.npos) return out;
    const std::string rest = out.substr(tail);
    for (const std::string_view view : {"/tree/", "/blob/", "/resolve/"}) {
        if (!rest.starts_with(view)) continue;
        const auto revision = rest.substr(view.size());
        const auto file = revision.find('/');
        return out.substr(0, tail) + "@" + revision.substr(0, file) +
               (file == revision.npos ? "" : ":" + revision.substr(file + 1));
    }
    return out;
}

}  // namespace

base::Result<Reference> parse_reference(std::string_view written) {
    const std::string text = short_form(written);
    Reference out;
    const auto colon = text.find(':');
    const auto head = std::string_view(text).substr(0, colon);
    const auto at = head.find('@');
    out.repo = head.substr(0, at);
    const auto slash = out.repo.find('/');
    const bool is_repo = slash != std::string::npos && is_word(out.repo.substr(0, slash)) &&
                         is_word(out.repo.substr(slash + 1));
    if (!is_repo)
        return fail(Code::invalid,
                    "\"{}\" names no model: it must be ORG/NAME[@REVISION][:FILE], such as "
                    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
                    text.substr(0, 200));
    if (at != head.npos) {
        out.revision = head.substr(at + 1);
        if (!is_revision(out.revision))
            return fail(Code::invalid, "\"{}\": what follows @ is no branch, tag or commit",
                        text.substr(0, 200));
    }
    if (colon != text.npos) {
        out.file = text.substr(colon + 1);
        if (const auto safe = check_file_name(out.file); !safe)
            return fail(Code::invalid, "\"{}\": what follows : {}", text.substr(0, 200),
                        safe.error().what);
    }
    return out;
}

base::Result<> check_file_name(std::string_view path) {
    if (path.empty()) return fail(Code::invalid, "is empty");
    if (path.size() > 1024) return fail(Code::invalid, "is longer than 1024 bytes");
    if (std::ranges::any_of(path, is_control) || path.find('\\') != path.npos)
        return fail(Code::invalid, "has control characters or backslashes");
    for (std::string_view rest = path; !rest.empty() || path.ends_with('/');) {
        const auto slash = rest.find('/');
        const auto part = rest.substr(0, slash);
        if (part.empty()) return fail(Code::invalid, "is not a relative path to a file");
        if (part == "." || part == "..") return fail(Code::invalid, "leads out of its folder");
        if (part.size() > 255) return fail(Code::invalid, "has a part longer than 255 bytes");
        if (part.starts_with(".holdfast")) return fail(Code::invalid, "uses a reserved name");
        if (slash == rest.npos) break;
        rest.remove_prefix(slash + 1);
    }
    return {};
}

}  // namespace holdfast::hub
