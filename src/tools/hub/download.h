// Downloads files in parallel, in pieces, and checks them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tools/hub/hub.h"
#include "tools/hub/progress.h"

namespace holdfast::hub {

struct Watcher {
    std::function<void(const Progress&)> progress;
    std::function<void(std::string line)> say;  // pauses and oddities
};

struct Wanted {
    RemoteFile file;
    std::string url;
};

struct DownloadPlan {
    std::vector<Wanted> files;
    std::string folder;  // gets the checked files, under their paths
    std::string parts;   // folder for files in progress, named after their content
    int jobs = 8;        // transfers at once
};

// Where a file in progress lies, without an ending: named after content and path, so that another
// revision with the same file takes it up. A file without a checksum is never taken up.
std::string part_path(const std::string& folder, const RemoteFile& file);

// Returns when all files are in the folder and on the disk, each with its size and checksum.
// Otherwise, what has come stays in `parts` and `folder`, except for a file with a wrong checksum,
// and the same call takes it up.
[[nodiscard]] base::Result<> download(const Hub& hub, const Reference& reference,
                                      const DownloadPlan& plan, const Stop& stop,
                                      const Watcher& watcher, const base::Clock& clock);

}  // namespace holdfast::hub
