#pragma once

#include <string>

#include "common/base/error.h"
#include "common/base/unique_fd.h"

namespace holdfast::keeper {

// The state folder of one service, held exclusively for as long as this lives (flock, so a crash
// frees it). Serving does not depend on the folder: where it cannot be written, `usable` is false
// and `trouble` says why.
class StateFolder {
public:
    // Makes the folder (mode 0700) and takes its lock. Fails only if another service has it; the
    // message names that process.
    static base::Result<StateFolder> open(const std::string& path);

    bool usable() const { return trouble_.empty(); }
    const std::string& trouble() const { return trouble_; }
    std::string log_path(const std::string& name) const { return path_ + "/logs/" + name + ".log"; }
    std::string notify_path() const { return path_ + "/notify.sock"; }
    // True if nothing can be written for lack of room.
    bool is_full() const;

private:
    std::string path_, trouble_;
    base::UniqueFd lock_;
};

}  // namespace holdfast::keeper
