#include "service/gateway/routes.h"

#include "common/dialect/dialect.h"
#include "service/gateway/conversion.h"
#include "service/gateway/exchange.h"
#include "service/gateway/generation.h"
#include "service/gateway/view.h"

namespace holdfast::gateway {

std::unique_ptr<Endpoint> find_endpoint(Context& context, const Front& front,
                                        std::string_view path) {
    if (const dialect::Dialect* dialect = dialect::find_by_path(path))
        return std::make_unique<Generation>(context, *dialect);
    if (Conversion::handles(path)) return std::make_unique<Conversion>(context, path);
    return make_view(context, front, path);
}

loop::Task<void> route(Lane& lane, const Front& front, http::Request request,
                       http::Responder& responder) {
    Exchange exchange(lane, front, std::move(request), responder);
    co_await exchange.run();
}

http::Response protocol_error(int status, std::string_view reason) {
    const base::Error error{base::Code::invalid, std::string(reason), base::Origin::client};
    http::Response response{status, {}, dialect::openai_error(error).body};
    response.headers.add("Content-Type", "application/json");
    return response;
}

}  // namespace holdfast::gateway
