// An answer that a model generates: the APIs of dialects.def. Events come from instances, are
// journaled, and then given to the client.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/chat/request.h"
#include "common/dialect/dialect.h"
#include "common/upstream/reader.h"
#include "service/gateway/continuation.h"
#include "service/gateway/endpoint.h"
#include "service/gateway/reply.h"
#include "service/gateway/work.h"

namespace holdfast::gateway {

class Generation final : public Endpoint, private Work {
public:
    // `methods`: what the dialect takes at the request's path.
    Generation(Context& context, const dialect::Dialect& dialect, std::string_view methods);

    // Endpoint.
    std::string_view name() const override { return dialect_.name; }
    std::string_view methods() const override { return methods_; }
    base::Result<> parse(const http::Request& request) override;
    std::string_view model() const override { return request_.model; }
    bool generates() const override { return true; }
    std::optional<Journal::Opening> opening() const override;
    loop::Task<base::Result<>> answer() override;
    loop::Task<base::Result<>> end_with(const base::Error& error) override {
        return reply_->end_with(error);
    }
    dialect::ErrorAnswer render_error(const base::Error& error) const override {
        return dialect_.render_error(error);
    }

private:
    // Work.
    Need need() const override;
    base::Result<upstream::Call> call(const fleet::Instance& instance) override;
    bool asks_first() const override { return how_->asks_first(); }
    base::Result<upstream::Call> learn(const fleet::Instance& instance,
                                       std::string_view body) override;
    void add_headers(http::Headers& headers) const override { how_->add_headers(headers); }
    std::uint64_t bytes_max(const fleet::Instance& instance) const override;
    base::Result<> begin(const fleet::Instance& instance, const http::Headers& headers) override;
    base::Result<bool> take(std::string_view piece) override;
    base::Result<> ended() override;
    bool streams() const override { return request_.presentation.stream; }
    loop::Task<base::Result<>> pass_on() override { return reply_->flush(); }
    loop::Task<base::Result<>> finish() override { return reply_->finish(); }
    bool begun() const override { return how_->begun(); }
    std::uint64_t gained() const override { return how_->gained(); }
    bool prepare_to_go_on() override;

    void choose(const fleet::Instance& instance);
    base::Result<> deliver(chat::Event& event);
    chat::Usage checked(const chat::Usage& reported) const;
    std::uint64_t tokens_max() const;
    bool all_finished() const { return finished_ == (1U << request_.generation.choices) - 1; }
    void note_times(const chat::Event& event);

    Context& context_;
    const dialect::Dialect& dialect_;
    std::string_view methods_;
    chat::Request request_;
    dialect::AnswerHead head_;
    std::optional<Reply> reply_;
    ContinueByIds by_ids_;
    ContinueByText by_text_;
    ContinueRaw raw_;
    Continuation* how_ = &by_ids_;
    std::uint32_t instance_context_ = 0;  // most tokens that the running attempt's instance takes
    std::uint32_t finished_ = 0;          // one bit per choice
    base::Instant last_event_;
};

}  // namespace holdfast::gateway
