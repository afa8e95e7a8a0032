#include "inference/text/jinja_source.h"

#include <cctype>
#include <utility>

namespace holdfast::text {
namespace {

using base::Code;
using base::Result;

constexpr std::string_view white = " \t\r\n";

bool is_word(char byte) {
    return std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '_';
}

char decoded(char escape) {
    switch (escape) {
        case 'n':
            return '\n';
        case 't':
            return '\t';
        case 'r':
            return '\r';
        default:
            return escape;  // a quotation mark or a backslash
    }
}

// One reading of one source.
class Reader {
public:
    explicit Reader(std::string_view source) : rest_(source) {}

    Result<std::vector<std::string>> read() {
        if (rest_.contains(jinja_quote))
            return base::fail(Code::invalid, "the template has a control character");
        while (true) {
            const std::size_t open = find_tag();
            add_text(rest_.substr(0, open), open);
            if (open == std::string_view::npos) return std::move(items_);
            rest_.remove_prefix(open);
            HF_TRY(read_tag());
        }
    }

private:
    std::size_t find_tag() const {
        for (std::size_t at = 0; at + 1 < rest_.size(); ++at)
            if (rest_[at] == '{' && std::string_view("%{#").contains(rest_[at + 1])) return at;
        return std::string_view::npos;
    }

    // `open` is where the tag begins that follows the text, if any does.
    void add_text(std::string_view text, std::size_t open) {
        if (trims_after_ || (after_block_ && text.starts_with('\n')))
            text.remove_prefix(trims_after_ ? std::min(text.find_first_not_of(white), text.size())
                                            : 1);
        if (open != std::string_view::npos) {
            const char kind = rest_[open + 1];
            const char sign = open + 2 < rest_.size() ? rest_[open + 2] : '\0';
            if (sign == '-') {
                text = text.substr(0, text.find_last_not_of(white) + 1);
            } else if (kind != '{' && sign != '+') {
                const std::size_t last = text.find_last_not_of(" \t");
                if (last == std::string_view::npos ? after_block_ || items_.empty()
                                                   : text[last] == '\n')
                    text = text.substr(0, last + 1);
            }
        }
        if (!text.empty()) items_.push_back('"' + std::string(text));
    }

    Result<> read_tag() {
        const char kind = rest_[1];
        const std::string_view close = kind == '%' ? "%}" : kind == '{' ? "}}" : "#}";
        rest_.remove_prefix(2);
        if (rest_.starts_with('-') || rest_.starts_with('+')) rest_.remove_prefix(1);
        std::string body(1, kind == '{' ? '=' : kind);
        HF_TRY(kind == '#' ? skip_comment() : read_body(close, body));
        trims_after_ = rest_.starts_with('-');
        rest_.remove_prefix(trims_after_ ? 3 : 2);
        after_block_ = kind != '{';
        if (kind != '#') items_.push_back(std::move(body));
        return {};
    }

    Result<> skip_comment() {
        const std::size_t end = rest_.find("#}");
        if (end == std::string_view::npos)
            return base::fail(Code::invalid, "a comment of the template does not end");
        rest_.remove_prefix(end > 0 && rest_[end - 1] == '-' ? end - 1 : end);
        return {};
    }

    // Up to the closing mark or the minus before it.
    Result<> read_body(std::string_view close, std::string& body) {
        bool spaced = false;
        while (!rest_.starts_with(close) && !(rest_.starts_with('-') && ends_next(close))) {
            if (rest_.empty())
                return base::fail(Code::invalid, "a tag of the template does not end");
            const char byte = rest_.front();
            if (byte == '\'' || byte == '"') {
                HF_TRY(read_string(body));
                spaced = false;
                continue;
            }
            rest_.remove_prefix(1);
            if (white.contains(byte)) {
                spaced = true;
                continue;
            }
            if (spaced && is_word(byte) && is_word(body.back())) body += ' ';
            spaced = false;
            body += byte;
        }
        return {};
    }
    bool ends_next(std::string_view close) const { return rest_.substr(1).starts_with(close); }

    Result<> read_string(std::string& body) {
        const char quote = rest_.front();
        body += jinja_quote;
        for (std::size_t at = 1; at < rest_.size(); ++at) {
            const char byte = rest_[at];
            if (byte == quote) {
                body += jinja_quote;
                rest_.remove_prefix(at + 1);
                return {};
            }
            const bool escape = byte == '\\' && at + 1 < rest_.size();
            body += escape ? decoded(rest_[++at]) : byte;
        }
        return base::fail(Code::invalid, "a string of the template does not end");
    }

    std::string_view rest_;
    std::vector<std::string> items_;
    bool trims_after_ = false;  // the last tag ended with a minus
    bool after_block_ = false;  // the last tag was a statement or a comment
};

}  // namespace

Result<std::vector<std::string>> canonical_jinja(std::string_view source) {
    return Reader(source).read();
}

std::string show_jinja_item(std::string_view item, std::size_t bytes_max) {
    std::string body;
    for (const char byte : item.substr(1)) {
        if (byte == '\n')
            body += "\\n";
        else
            body += byte == jinja_quote ? '\'' : byte;
    }
    if (body.size() > bytes_max) {
        while (bytes_max > 0 && (static_cast<unsigned char>(body[bytes_max]) & 0xC0) == 0x80)
            --bytes_max;  // whole characters only
        body = body.substr(0, bytes_max) + "...";
    }
    if (item.front() == '%') return "{% " + body + " %}";
    return item.front() == '=' ? "{{ " + body + " }}" : "\"" + body + "\"";
}

}  // namespace holdfast::text
