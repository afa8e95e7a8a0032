#pragma once

#include "common/base/clock.h"
#include "common/http/task.h"

namespace holdfast::http {

// Waits on the calling task's loop. Ends early, without an error, when the task is cancelled.
Task<void> sleep_for(base::Duration wait);

}  // namespace holdfast::http
