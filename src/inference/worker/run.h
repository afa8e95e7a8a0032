// The command `holdfast worker`: one process that loads one model and serves it.
#pragma once

#include "common/base/error.h"
#include "inference/worker/options.h"

namespace holdfast::worker {

// Serves until SIGTERM or SIGINT has drained it; a second signal ends the process at once with
// code 1. While the model loads, the probes answer already. Speaks the child's half of
// docs/protocol.md, section 2. Call it on the main thread, before other threads exist, so that
// signals reach its loop. Errors: it cannot listen, or the model cannot be loaded.
base::Result<> run(Options options);

}  // namespace holdfast::worker
