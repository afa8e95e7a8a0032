// The routes of a scripted instance: it behaves towards a gateway like a holdfast worker
// (docs/protocol.md, section 1) and spends next to no time on what it says.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/random.h"
#include "common/http/server.h"
#include "tools/scripted_instance/script.h"

namespace holdfast::scripted_instance {

// Loop thread only. Outlives the server that calls it.
class Instance {
public:
    explicit Instance(base::Entropy& entropy);
    loop::Task<void> answer(http::Request request, http::Responder& responder);

private:
    loop::Task<void> complete(http::Request request, http::Responder& responder);
    loop::Task<void> stream(Ask ask, http::Responder& responder);
    std::string readiness() const;

    std::string life_;
    Scripts scripts_;
    std::uint64_t progress_ = 0;
    std::uint32_t running_ = 0;
};

http::Response error_answer(int status, std::string_view reason);

}  // namespace holdfast::scripted_instance
