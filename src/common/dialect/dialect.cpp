#include "common/dialect/dialect.h"

#include <algorithm>
#include <array>

#include "common/dialect/status.h"

namespace holdfast::dialect {

#define DIALECT(name) extern const Dialect name##_dialect;
#include "common/dialect/dialects.def"
#undef DIALECT

std::span<const Dialect* const> dialects() {
    static constexpr std::array all{
#define DIALECT(name) &name##_dialect,
#include "common/dialect/dialects.def"
#undef DIALECT
    };
    return all;
}

Found find(std::string_view method, std::string_view path) {
    Found found;
    for (const Dialect* dialect : dialects()) {
        for (const Route& route : dialect->routes) {
            if (route.path != path) continue;
            found.dialect = dialect;
            found.methods = route.method;
            if (route.method != method) continue;
            found.route = &route;
            return found;
        }
    }
    return found;
}

ErrorAnswer render_error(const base::Error& error) {
    return dialects().front()->render_error(error);
}

ErrorAnswer render_status(int status, std::string_view reason) {
    ErrorAnswer answer = render_error(error_of_status(status, reason));
    answer.status = status;
    return answer;
}

}  // namespace holdfast::dialect
