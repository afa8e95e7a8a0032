// One request to /tokenize or /detokenize: answered by an instance of the model, tried again at
// another one where the first fails. Nothing is generated, so an attempt can always be repeated.
#pragma once

#include <string>
#include <variant>

#include "common/upstream/tokenization.h"
#include "service/gateway/endpoint.h"
#include "service/gateway/work.h"

namespace holdfast::gateway {

class Conversion final : public Endpoint, private Work {
public:
    static bool handles(std::string_view path);

    Conversion(Context& context, std::string_view path);

    // Endpoint.
    std::string_view name() const override { return path().substr(1); }
    std::string_view methods() const override { return "POST"; }
    base::Result<> parse(const http::Request& request) override;
    std::string_view model() const override;
    std::optional<Journal::Opening> opening() const override { return Journal::Opening{}; }
    loop::Task<base::Result<>> answer() override;

private:
    // Work.
    Need need() const override;
    base::Result<upstream::Call> call(const fleet::Instance& instance) override;
    void add_headers(http::Headers&) const override {}
    std::uint64_t bytes_max(const fleet::Instance& instance) const override;
    base::Error refusal(const fleet::Instance& instance, int status,
                        std::string_view body) const override;
    base::Result<> begin(const fleet::Instance& instance, const http::Headers& headers) override;
    base::Result<bool> take(std::string_view piece) override;
    base::Result<> ended() override;
    bool streams() const override { return false; }
    loop::Task<base::Result<>> pass_on() override;
    loop::Task<base::Result<>> finish() override;
    bool begun() const override { return false; }
    std::uint64_t gained() const override { return 0; }
    bool prepare_to_go_on() override { return true; }

    std::string_view path() const;
    base::Result<std::string> translate() const;

    Context& context_;
    std::variant<dialect::TokenizeRequest, dialect::DetokenizeRequest> request_;
    std::uint32_t instance_context_ = 0;
    std::string body_;  // of the instance's answer, then of ours
};

}  // namespace holdfast::gateway
