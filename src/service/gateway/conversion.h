// One request to /tokenize or /detokenize: answered by an instance of the model, tried again at
// another one where the first fails. Nothing is generated, so an attempt can always be repeated.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/http/message.h"
#include "common/http/server.h"
#include "common/loop/task.h"
#include "common/upstream/tokenization.h"
#include "service/gateway/lane.h"

namespace holdfast::gateway {

// Lives as long as its handler's call; loop thread only.
class Conversion {
public:
    static bool handles(std::string_view path);

    Conversion(Lane& lane, http::Request request, http::Responder& responder);
    ~Conversion();
    Conversion(const Conversion&) = delete;
    Conversion& operator=(const Conversion&) = delete;

    loop::Task<void> run();

private:
    // How an attempt ended that brought no answer.
    struct Loss {
        base::Error error;
        fleet::Outcome outcome = fleet::Outcome::lost;
    };

    base::Result<> parse();
    base::Result<> admit();
    loop::Task<base::Result<std::string>> relay();
    loop::Task<std::expected<std::string, Loss>> attempt(const Placed& placed,
                                                         upstream::UpstreamCall call);
    loop::Task<base::Result<>> pace(const Loss& loss);
    base::Result<upstream::UpstreamCall> encode(const fleet::Instance& instance) const;
    base::Result<std::string> translate(std::string_view body,
                                        const fleet::Instance& instance) const;
    const std::string& model() const;
    loop::Task<void> answer(const base::Result<std::string>& outcome);
    void settle(const base::Result<std::string>& outcome) const;

    Lane& lane_;
    http::Request http_;
    http::Responder& responder_;
    base::Instant arrived_;
    base::Deadline deadline_;
    std::string request_id_;
    std::variant<dialect::TokenizeRequest, dialect::DetokenizeRequest> request_;
    std::optional<Journal::EntryId> entry_;
    std::vector<std::string> busy_;      // instances that cannot take it
    std::optional<base::Error> unable_;  // why the last of them offers no such thing
    std::string last_instance_;
    std::uint32_t attempts_ = 0, fruitless_ = 0;
    int status_ = 200;
};

}  // namespace holdfast::gateway
