#include "common/json/reader.h"

#include <algorithm>
#include <cmath>

namespace holdfast::json {
namespace {

namespace ondemand = simdjson::ondemand;

// A parser's tables cost more to make than a usual request costs to parse, so each thread keeps
// one for its next document, unless a large document has made it large.
constexpr std::size_t parser_bytes_min = 4 * 1024;
constexpr std::size_t parser_bytes_max = 64 * 1024;
thread_local std::unique_ptr<simdjson::dom::parser> spare_parser;

// Finds the first value that cannot be read. Only after parsing has failed.
class BadValueFinder {
public:
    explicit BadValueFinder(std::string_view text) : text_(text) {}

    // Its path, or empty if the fault is not in one value (a missing bracket, for instance).
    std::string find() {
        ondemand::parser parser;
        ondemand::document document;
        ondemand::value root;
        if (parser.iterate(text_).get(document) || document.get_value().get(root)) return {};
        walk(root, nullptr, 0);
        return found_;
    }

private:
    // False when the walk is over: something was found or the structure is broken.
    bool walk(ondemand::value value, const Path* path, std::size_t depth) {
        ondemand::json_type type;
        if (depth > depth_max) return false;
        if (value.type().get(type)) return name(path);
        switch (type) {
            case ondemand::json_type::object:
                return walk_object(value, path, depth);
            case ondemand::json_type::array:
                return walk_array(value, path, depth);
            case ondemand::json_type::number: {
                ondemand::number number;
                return value.get_number().get(number) ? name(path) : true;
            }
            case ondemand::json_type::string: {
                std::string_view text;
                return value.get_string().get(text) ? name(path) : true;
            }
            case ondemand::json_type::boolean: {
                bool flag;
                return value.get_bool().get(flag) ? name(path) : true;
            }
            case ondemand::json_type::null:
                return value.is_null() ? true : name(path);
        }
        return false;
    }
    bool walk_object(ondemand::value value, const Path* path, std::size_t depth) {
        ondemand::object object;
        if (value.get_object().get(object)) return false;
        for (auto member : object) {
            ondemand::field field;
            std::string_view key;
            if (std::move(member).get(field) || field.unescaped_key().get(key)) return false;
            const Path here{path, key};
            if (!walk(field.value(), &here, depth + 1)) return false;
        }
        return true;
    }
    bool walk_array(ondemand::value value, const Path* path, std::size_t depth) {
        ondemand::array array;
        if (value.get_array().get(array)) return false;
        Path here{path};
        for (auto element : array) {
            ondemand::value inner;
            if (std::move(element).get(inner) || !walk(inner, &here, depth + 1)) return false;
            ++here.index;
        }
        return true;
    }
    bool name(const Path* path) {
        if (path) found_ = path->text();
        return false;
    }

    simdjson::padded_string text_;
    std::string found_;
};

std::unexpected<base::Error> refuse_document(std::string_view field, std::string what) {
    return std::unexpected(base::Error{base::Code::invalid, std::move(what), base::Origin::client,
                                       base::Retry::no, std::string(field)});
}

std::unexpected<base::Error> explain(simdjson::error_code error, std::string_view text) {
    switch (error) {
        case simdjson::EMPTY:
            return refuse_document({}, "The body is empty; a JSON object is expected.");
        case simdjson::DEPTH_ERROR:
            return refuse_document(
                {}, fmt::format("The body is nested more than {} levels deep.", depth_max));
        case simdjson::UTF8_ERROR:
            return refuse_document({}, "The body is not valid UTF-8.");
        case simdjson::CAPACITY:
        case simdjson::MEMALLOC:
            return refuse_document({}, "The body is too large.");
        default:
            break;
    }
    const std::string field = BadValueFinder(text).find();
    if (!field.empty()) {
        return refuse_document(field, fmt::format("{} is not a valid JSON value, or a number that "
                                                  "is out of range.",
                                                  field));
    }
    return refuse_document({}, "The body is not one valid JSON document.");
}

}  // namespace

std::string Path::text() const {
    std::string out = parent ? parent->text() : std::string();
    if (key.data() == nullptr) return out + fmt::format("[{}]", index);
    if (!out.empty()) out += '.';
    // Keys come from the client: keep what is put into messages short.
    constexpr std::size_t key_bytes_max = 64;
    if (key.size() <= key_bytes_max) return out.append(key);
    std::string_view shown = key.substr(0, key_bytes_max);
    while (!simdjson::validate_utf8(shown.data(), shown.size())) shown.remove_suffix(1);
    return out.append(shown).append("...");
}

base::Result<> Value::Names::add(std::string_view name, const Value& object) {
    if (names_.size() == members_max)
        return object.refuse(fmt::format("must not have more than {} members", members_max));
    names_.push_back(name);
    return {};
}

base::Result<> Value::Names::check(const Value& object) {
    std::ranges::sort(names_);
    const auto twice = std::ranges::adjacent_find(names_);
    if (twice == names_.end()) return {};
    const Path path{object.path_, *twice};
    return refuse_document(path.text(), fmt::format("{} is given twice.", path.text()));
}

std::string_view Value::type_name() const {
    using Type = simdjson::dom::element_type;
    switch (element_.type()) {
        case Type::ARRAY:
            return "a list";
        case Type::OBJECT:
            return "an object";
        case Type::INT64:
        case Type::UINT64:
        case Type::DOUBLE:
            return "a number";
        case Type::STRING:
            return "a string";
        case Type::BOOL:
            return "a boolean";
        case Type::NULL_VALUE:
            return "null";
    }
    std::unreachable();
}

std::unexpected<base::Error> Value::refuse(std::string_view reason) const {
    const std::string field = path();
    return refuse_document(field,
                           fmt::format("{} {}.", field.empty() ? "The body" : field, reason));
}

std::unexpected<base::Error> Value::wrong_type(std::string_view expected) const {
    return refuse(fmt::format("must be {}, not {}", expected, type_name()));
}

base::Result<std::string_view> Value::string() const {
    std::string_view text;
    if (element_.get(text) != simdjson::SUCCESS) return wrong_type("a string");
    return text;
}

base::Result<bool> Value::boolean() const {
    bool value = false;
    if (element_.get(value) != simdjson::SUCCESS) return wrong_type("a boolean");
    return value;
}

base::Result<double> Value::number(double min, double max) const {
    double value = 0;
    if (element_.get(value) != simdjson::SUCCESS) return wrong_type("a number");
    if (!(value >= min && value <= max)) {
        return refuse(fmt::format("must be a number from {} to {}", min, max));
    }
    return value;
}

base::Result<std::int64_t> Value::integer(std::int64_t min, std::int64_t max) const {
    if (!is_number()) return wrong_type("an integer");
    std::int64_t value = 0;
    if (element_.get(value) != simdjson::SUCCESS) {
        // A fraction, or an integer beyond 64 bits. 2^63 as a double is exact.
        const double real = element_.get_double().value_unsafe();
        if (std::trunc(real) != real || !(std::abs(real) < 0x1p63)) {
            return refuse(fmt::format("must be an integer from {} to {}", min, max));
        }
        value = static_cast<std::int64_t>(real);
    }
    if (value < min || value > max) {
        return refuse(fmt::format("must be an integer from {} to {}", min, max));
    }
    return value;
}

base::Result<std::uint64_t> Value::bits() const {
    std::uint64_t value = 0;
    if (element_.get(value) == simdjson::SUCCESS) return value;
    HF_TRY_ASSIGN(const std::int64_t with_sign, integer(std::numeric_limits<std::int64_t>::min(),
                                                        std::numeric_limits<std::int64_t>::max()));
    return static_cast<std::uint64_t>(with_sign);
}

base::Result<std::size_t> Value::length() const {
    simdjson::dom::array array;
    if (element_.get(array) != simdjson::SUCCESS) return wrong_type("a list");
    // array.size() saturates at 2^24 - 1 elements, far above every limit of ours.
    return array.size();
}

base::Result<Document> Document::parse(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) {
        return refuse_document({},
                               "The body begins with a byte-order mark; send UTF-8 without it.");
    }
    Document document;
    document.parser_ = take_parser();
    simdjson::dom::parser& parser = *document.parser_;
    if (parser.capacity() < text.size()) {
        const std::size_t capacity = std::max(text.size(), parser_bytes_min);
        if (const auto error = parser.allocate(capacity, depth_max)) {
            return explain(error, text);
        }
    }
    if (const auto error = parser.parse(text.data(), text.size(), true).error()) {
        return explain(error, text);
    }
    return document;
}

Document::Parser Document::take_parser() {
    if (spare_parser) return Parser(spare_parser.release());
    return Parser(new simdjson::dom::parser());
}

void Document::GiveBack::operator()(simdjson::dom::parser* parser) const {
    std::unique_ptr<simdjson::dom::parser> owner(parser);
    if (!spare_parser && parser->capacity() <= parser_bytes_max) spare_parser = std::move(owner);
}

}  // namespace holdfast::json
