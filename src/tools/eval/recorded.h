// A model's predictions in a file, so that others can be compared with it where it does not fit.
//
// JSON lines: first an object that says what was recorded, then one per predicted token:
//   {"holdfast_eval":1,"name":"bf16","fingerprint":"...","text":"<hash>","top":20,"positions":99}
//   {"token":17,"logprob":-0.01,"top":[[17,-0.01],[4,-5.2]]}
#pragma once

#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "tools/eval/corpus.h"
#include "tools/eval/score.h"

namespace holdfast::eval {

// Names passages: equal for equal tokens that are cut alike.
std::string hash_of(std::span<const Passage> passages);
std::uint64_t positions_of(std::span<const Passage> passages);

struct RecordHeader {
    std::string name, fingerprint;
    std::string text;       // hash_of
    std::uint32_t top = 0;  // likeliest ids that are kept of each position
    std::uint64_t positions = 0;
};

// Writes PATH.part, which becomes PATH when all has been written, so that no half record is ever
// taken for a whole one; what is not finished is removed.
class RecordWriter {
public:
    [[nodiscard]] static base::Result<RecordWriter> create(const std::string& path,
                                                           const RecordHeader& header);
    RecordWriter(RecordWriter&& other) noexcept;
    RecordWriter& operator=(RecordWriter&&) = delete;
    ~RecordWriter();

    void add(const Likeliest& position);
    // Errors: unavailable, such as a full disk.
    [[nodiscard]] base::Result<> finish();

private:
    RecordWriter(std::string path, std::ofstream file);
    std::string path_;  // empty when nothing is to be removed
    std::ofstream file_;
    std::string line_;
};

struct Record {
    RecordHeader header;
    std::vector<Likeliest> positions;
};

// Ids are below `vocab`. Errors name file, line and reason.
[[nodiscard]] base::Result<Record> read_record(const std::string& path, std::uint32_t vocab);

}  // namespace holdfast::eval
