// What a failed attempt at an instance means, for the client and for the instance's health.
#pragma once

#include <string>

#include "common/base/error.h"
#include "service/fleet/fleet.h"

namespace holdfast::gateway {

// The instance is not there any more; another one may be.
base::Error lost(std::string what);

// How a failure to talk to an instance counts for its health.
fleet::Outcome judge(const base::Error& error);

}  // namespace holdfast::gateway
