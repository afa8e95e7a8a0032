// Reads a client's JSON. Every error is a sentence that names the field by its path
// ("messages[2].content") and says what was expected; the path also stands in Error::field.
#pragma once

#include <simdjson.h>

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace holdfast::json {

// Where a value stands in its document. A chain on the reader's stack, made text only for errors.
struct Path {
    const Path* parent = nullptr;
    std::string_view key;   // of an object's member; empty for an array's element
    std::size_t index = 0;  // of an array's element
    std::string text() const;
};

// Of an object that a client sends.
inline constexpr std::size_t members_max = 1024;

// A view into a Document. Copy freely, within the life of the document and of the visit that
// handed it out.
class Value {
public:
    Value(simdjson::dom::element element, const Path* path) : element_(element), path_(path) {}

    bool is_null() const { return element_.is_null(); }
    bool is_string() const { return element_.is_string(); }
    bool is_array() const { return element_.is_array(); }
    bool is_object() const { return element_.is_object(); }
    bool is_number() const { return element_.is_number(); }

    base::Result<std::string_view> string() const;
    base::Result<bool> boolean() const;
    base::Result<double> number(double min, double max) const;
    // 1.0 and -0 are integers, "1" and 1.5 are not.
    base::Result<std::int64_t> integer(std::int64_t min, std::int64_t max) const;
    // Any 64-bit integer, signed or not, as its bits.
    base::Result<std::uint64_t> bits() const;
    base::Result<std::size_t> length() const;  // of an array

    // visit(key, Value) or visit(Value), each giving Result<>; the first error ends it.
    template <class Visit>
    base::Result<> each_member(Visit visit) const {
        simdjson::dom::object object;
        if (element_.get(object) != simdjson::SUCCESS) return wrong_type("an object");
        for (const auto& [key, value] : object) {
            const Path path{path_, key};
            HF_TRY(visit(key, Value(value, &path)));
        }
        return {};
    }
    // The same for what clients ask: a name that comes twice is refused, because two readers could
    // see two requests, and so are more than members_max.
    template <class Visit>
    base::Result<> each_field(Visit visit) const {
        Names names;
        HF_TRY(each_member([&](std::string_view key, const Value& value) -> base::Result<> {
            HF_TRY(names.add(key, *this));
            return visit(key, value);
        }));
        return names.check(*this);
    }
    template <class Visit>
    base::Result<> each_element(Visit visit) const {
        simdjson::dom::array array;
        if (element_.get(array) != simdjson::SUCCESS) return wrong_type("a list");
        Path path{path_};
        for (const simdjson::dom::element value : array) {
            HF_TRY(visit(Value(value, &path)));
            ++path.index;
        }
        return {};
    }

    // "messages[2].content"; empty for the whole document.
    std::string path() const { return path_ ? path_->text() : std::string(); }
    // "<path> <reason>", for instance refuse("must not be empty").
    std::unexpected<base::Error> refuse(std::string_view reason) const;
    // "<path> must be <expected>, not <what it is>".
    std::unexpected<base::Error> wrong_type(std::string_view expected) const;

private:
    class Names {
    public:
        base::Result<> add(std::string_view name, const Value& object);
        base::Result<> check(const Value& object);

    private:
        boost::container::small_vector<std::string_view, 32> names_;
    };

    std::string_view type_name() const;
    simdjson::dom::element element_;
    const Path* path_;
};

inline constexpr std::size_t depth_max = 64;

// Owns the parsed text. Time and memory are linear in the text's length, nesting is bounded.
class Document {
public:
    // Exactly one JSON document in UTF-8 without a byte-order mark; anything else is
    // Code::invalid. A value that cannot be read (1e999, 01, NaN) is named by its path.
    static base::Result<Document> parse(std::string_view text);
    Value root() const { return {parser_->doc.root(), nullptr}; }

private:
    struct GiveBack {
        void operator()(simdjson::dom::parser* parser) const;
    };
    using Parser = std::unique_ptr<simdjson::dom::parser, GiveBack>;
    static Parser take_parser();

    Parser parser_;
};

}  // namespace holdfast::json
