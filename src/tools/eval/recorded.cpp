#include "tools/eval/recorded.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <cstdio>
#include <utility>

#include "common/base/hash.h"
#include "common/json/writer.h"

namespace holdfast::eval {
namespace {

using base::Code;
using base::fail;
using simdjson::dom::element;

constexpr std::size_t line_bytes_max = std::size_t{1} << 20;

bool text_field(const element& object, std::string_view name, std::string& out) {
    std::string_view text;
    if (object[name].get(text) != simdjson::SUCCESS) return false;
    out = text;
    return true;
}

bool count_field(const element& object, std::string_view name, std::uint64_t max,
                 std::uint64_t& out) {
    return object[name].get(out) == simdjson::SUCCESS && out <= max;
}

bool read_header(const element& line, RecordHeader& header) {
    std::uint64_t version = 0, top = 0;
    const bool read = count_field(line, "holdfast_eval", 1, version) && version == 1 &&
                      text_field(line, "name", header.name) &&
                      text_field(line, "fingerprint", header.fingerprint) &&
                      text_field(line, "text", header.text) &&
                      count_field(line, "top", 1U << 20, top) && top > 0 &&
                      count_field(line, "positions", 1U << 30, header.positions);
    header.top = static_cast<std::uint32_t>(top);
    return read;
}

// A log-probability is a number, at most 0 but for rounding.
bool read_log_probability(const element& value, double& out) {
    return value.get(out) == simdjson::SUCCESS && out < 1e-3;
}

bool read_pair(const element& pair, std::uint32_t vocab, Likeliest& position) {
    std::uint64_t id = 0;
    double log_probability = 0;
    element first, second;
    if (pair.at(0).get(first) || pair.at(1).get(second) || first.get(id) || id >= vocab ||
        !read_log_probability(second, log_probability))
        return false;
    position.top.emplace_back(static_cast<chat::TokenId>(id), static_cast<float>(log_probability));
    return true;
}

bool read_position(const element& line, std::uint32_t vocab, std::uint32_t top,
                   Likeliest& position) {
    std::uint64_t right = 0;
    element log_probability;
    simdjson::dom::array pairs;
    if (!count_field(line, "token", vocab - 1, right) || line["logprob"].get(log_probability) ||
        !read_log_probability(log_probability, position.right_log_probability) ||
        line["top"].get(pairs) || pairs.size() == 0 || pairs.size() > top)
        return false;
    position.right = static_cast<chat::TokenId>(right);
    for (const element pair : pairs)
        if (!read_pair(pair, vocab, position)) return false;
    return true;
}

}  // namespace

std::string hash_of(std::span<const Passage> passages) {
    base::Hash128 hash;
    for (const Passage& passage : passages) {
        hash = base::hash128(std::as_bytes(std::span(passage.tokens)), hash);
        hash = base::hash128(std::as_bytes(std::span(&passage.scored_from, 1)), hash);
    }
    return fmt::format("{:016x}{:016x}", hash.high, hash.low);
}

std::uint64_t positions_of(std::span<const Passage> passages) {
    std::uint64_t positions = 0;
    for (const Passage& passage : passages)
        positions += passage.tokens.size() - passage.scored_from;
    return positions;
}

RecordWriter::RecordWriter(std::string path, std::ofstream file)
    : path_(std::move(path)), file_(std::move(file)) {}

RecordWriter::RecordWriter(RecordWriter&& other) noexcept
    : path_(std::exchange(other.path_, {})), file_(std::move(other.file_)) {}

RecordWriter::~RecordWriter() {
    if (!path_.empty()) std::remove((path_ + ".part").c_str());
}

base::Result<RecordWriter> RecordWriter::create(const std::string& path,
                                                const RecordHeader& header) {
    std::ofstream file(path + ".part", std::ios::trunc);
    if (!file) return fail(Code::unavailable, "cannot write {}.part", path);
    std::string line;
    json::Writer json(line);
    json.begin_object();
    json.number("holdfast_eval", 1);
    json.string("name", header.name);
    json.string("fingerprint", header.fingerprint);
    json.string("text", header.text);
    json.number("top", header.top);
    json.number("positions", header.positions);
    json.end_object();
    file << line << '\n';
    return RecordWriter(path, std::move(file));
}

void RecordWriter::add(const Likeliest& position) {
    line_.clear();
    json::Writer json(line_);
    json.begin_object();
    json.number("token", position.right);
    json.number("logprob", position.right_log_probability);
    json.key("top");
    json.begin_array();
    for (const auto& [id, log_probability] : position.top) {
        json.begin_array();
        json.number(id);
        json.number(log_probability);
        json.end_array();
    }
    json.end_array();
    json.end_object();
    file_ << line_ << '\n';
}

base::Result<> RecordWriter::finish() {
    file_.close();
    if (file_.fail()) return fail(Code::unavailable, "cannot write {}.part to its end", path_);
    if (std::rename((path_ + ".part").c_str(), path_.c_str()) != 0)
        return fail(Code::unavailable, "cannot rename {}.part to {}", path_, path_);
    path_.clear();
    return {};
}

base::Result<Record> read_record(const std::string& path, std::uint32_t vocab) {
    std::ifstream file(path);
    if (!file) return fail(Code::not_found, "cannot read {}", path);
    Record record;
    simdjson::dom::parser parser;
    std::string line;
    for (std::size_t number = 1; std::getline(file, line); ++number) {
        element root;
        if (line.size() > line_bytes_max || parser.parse(line).get(root))
            return fail(Code::corrupt, "{}:{}: not a line of JSON", path, number);
        if (number == 1 && !read_header(root, record.header))
            return fail(Code::corrupt, "{}:1: not the header of a record", path);
        if (number > 1 &&
            !read_position(root, vocab, record.header.top, record.positions.emplace_back()))
            return fail(Code::corrupt, "{}:{}: not a position of this model", path, number);
    }
    if (file.bad() || record.positions.size() != record.header.positions || record.header.top == 0)
        return fail(Code::corrupt, "{}: holds {} of {} positions", path, record.positions.size(),
                    record.header.positions);
    return record;
}

}  // namespace holdfast::eval
