// The result of a CUDA call as an Error. For the .cpp files of this room: names no CUDA type.
#pragma once

#include <string_view>

#include "common/base/error.h"

namespace holdfast::cuda {

// `status` is a cudaError_t; `what` says what was tried. After most errors a context is lost: the
// instance that owns it must end (docs/gpu.md).
base::Result<> succeeded(int status, std::string_view what);

// Until everything that was launched has ended.
base::Result<> finished(std::string_view what);

// What the launches before it have left behind.
base::Result<> launched(std::string_view what);

}  // namespace holdfast::cuda
