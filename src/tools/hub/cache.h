// Where pulled models lie. ROOT is $HOLDFAST_CACHE, else $XDG_CACHE_HOME/holdfast, else
// ~/.cache/holdfast:
//
//   ROOT/models/ORG/NAME/.lock         flock(2): one pull or removal at a time
//   ROOT/models/ORG/NAME/ID/           complete and checked files, and .holdfast.json about them
//   ROOT/models/ORG/NAME/.partial/     what is not: ID/ checked files of an unfinished pull,
//                                      *.data and *.blocks files in progress
//
// ID names the content (manifest.h). A folder gets its place by one rename(2), so that what is
// there is complete, and is a plain folder that every program can read. The cache of Hugging Face's
// own libraries is not shared: a snapshot there does not say whether it is complete, its files are
// links, and unfinished ones belong to whichever program holds other locks than ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "tools/hub/hub.h"
#include "tools/hub/manifest.h"
#include "tools/hub/reference.h"

namespace holdfast::hub {

// An exclusive lock on a file, which is made if needed. A process that dies frees it.
class FileLock {
public:
    // Nothing if somebody else has it.
    [[nodiscard]] static base::Result<std::optional<FileLock>> try_take(const std::string& path);

private:
    explicit FileLock(base::UniqueFd file) : file_(std::move(file)) {}
    base::UniqueFd file_;
};

struct Pulled {
    enum class State { complete, partial, damaged };
    State state = State::complete;
    Manifest manifest;
    std::string path;  // what to give to --model; for a partial one, its folder
    std::string folder;
    std::uint64_t bytes = 0;  // on the disk
};

class Cache {
public:
    explicit Cache(std::string root) : root_(std::move(root)) {}
    // Errors: invalid, if no variable says where.
    [[nodiscard]] static base::Result<Cache> find(const Environment& environment);

    std::string folder_of(const std::string& repo) const { return root_ + "/models/" + repo; }
    std::string lock_of(const std::string& repo) const { return folder_of(repo) + "/.lock"; }
    std::string partial_of(const std::string& repo) const { return folder_of(repo) + "/.partial"; }

    // Everything, by repository, the newest first within one.
    std::vector<Pulled> list() const;
    // The newest complete pull that fits.
    std::optional<Pulled> newest(const Reference& reference) const;
    // Removes what fits: for a repository alone, unfinished pulls, too. Returns the bytes that this
    // freed. Errors: not_found; unavailable while a pull runs.
    [[nodiscard]] base::Result<std::uint64_t> remove(const Reference& wanted) const;
    // The repository as it was pulled, where `repo` is the same in another letter case: hubs make
    // no difference, folders do.
    std::string spelled(const std::string& repo) const;

private:
    void list_repo(const std::string& repo, std::vector<Pulled>& out) const;
    std::string root_;
};

// The folder or GGUF file to serve for `--model TEXT`, if TEXT is a reference to a complete pull.
std::optional<std::string> find_pulled(const Environment& environment, std::string_view text);

}  // namespace holdfast::hub
