#pragma once

#include "common/base/clock.h"
#include "common/loop/task.h"

namespace holdfast::loop {

// Waits on the calling task's loop. Ends early, without an error, when the task is cancelled.
Task<void> sleep_for(base::Duration wait);

}  // namespace holdfast::loop
