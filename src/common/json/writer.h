// Writes JSON by appending to a string. The output is always valid UTF-8: bytes that are no
// character become U+FFFD.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::json {

// `text` with its quotation marks.
void append_string(std::string& out, std::string_view text);
// Without the quotation marks, for a string put together from pieces.
void append_escaped(std::string& out, std::string_view text);

// The shortest text that reads back as the same number. Infinities and NaN do not exist in JSON:
// they become the nearest finite number, NaN becomes null.
void append_number(std::string& out, float value);
void append_number(std::string& out, double value);

template <std::integral Integer>
void append_number(std::string& out, Integer value) {
    char digits[24];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    out.append(digits, end);
}

// Puts the commas. Keys are the program's own words and are not escaped.
class Writer {
public:
    explicit Writer(std::string& out) : out_(out) {}

    void begin_object() { open('{'); }
    void end_object() { close('}'); }
    void begin_array() { open('['); }
    void end_array() { close(']'); }
    void key(std::string_view name) {
        separate();
        out_ += '"';
        out_ += name;
        out_ += "\":";
        comma_ = false;
    }
    void string(std::string_view text) {
        separate();
        append_string(out_, text);
    }
    template <class Number>
    void number(Number value) {
        separate();
        append_number(out_, value);
    }
    void boolean(bool value) { raw(value ? "true" : "false"); }
    void null() { raw("null"); }
    // A value that is JSON already.
    void raw(std::string_view json) {
        separate();
        out_ += json;
    }

    void string(std::string_view name, std::string_view text) { key(name), string(text); }
    template <class Number>
    void number(std::string_view name, Number value) {
        key(name), number(value);
    }
    void boolean(std::string_view name, bool value) { key(name), boolean(value); }

private:
    void separate() {
        if (comma_) out_ += ',';
        comma_ = true;
    }
    void open(char bracket) {
        separate();
        out_ += bracket;
        comma_ = false;
    }
    void close(char bracket) {
        out_ += bracket;
        comma_ = true;
    }

    std::string& out_;
    bool comma_ = false;
};

}  // namespace holdfast::json
