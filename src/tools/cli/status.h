#pragma once

#include <string>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tools/cli/terminal.h"

namespace holdfast::cli {

struct StatusOptions {
    std::string url;
    std::string api_key;
    bool json = false;
};

// `holdfast status`: what GET /admin/v1/status says, as a table or as it is. Returns the exit code.
int run_status(const StatusOptions& options, Streams streams, const base::Clock& clock);

// The table for a status document. Code::corrupt if it is none.
base::Result<std::string> status_table(std::string_view document);

}  // namespace holdfast::cli
