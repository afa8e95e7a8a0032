#include "service/gateway/routes.h"

#include "common/dialect/dialect.h"
#include "service/gateway/conversion.h"
#include "service/gateway/exchange.h"
#include "service/gateway/generation.h"
#include "service/gateway/view.h"

namespace holdfast::gateway {

std::unique_ptr<Endpoint> find_endpoint(Context& context, const Front& front,
                                        std::string_view path) {
    // Whether the method fits is asked of every endpoint alike.
    const dialect::Found found = dialect::find("POST", path);
    if (found.dialect != nullptr)
        return std::make_unique<Generation>(context, *found.dialect, found.methods);
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
    http::Response response{status, {}, dialect::render_error(error).body};
    response.headers.add("Content-Type", "application/json");
    return response;
}

}  // namespace holdfast::gateway
