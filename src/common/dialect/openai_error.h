#pragma once

#include "common/dialect/dialect.h"

namespace holdfast::dialect::openai {

ErrorAnswer render_error(const base::Error& error);

}  // namespace holdfast::dialect::openai
