#include "common/base/error.h"

namespace holdfast::base {

std::string_view name(Code code) {
    switch (code) {
        case Code::invalid:
            return "invalid";
        case Code::not_found:
            return "not_found";
        case Code::overloaded:
            return "overloaded";
        case Code::deadline:
            return "deadline";
        case Code::cancelled:
            return "cancelled";
        case Code::unavailable:
            return "unavailable";
        case Code::corrupt:
            return "corrupt";
        case Code::internal:
            return "internal";
    }
    std::unreachable();
}

}  // namespace holdfast::base
