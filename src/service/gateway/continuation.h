// How an answer goes on at another instance: what is kept of it, who may go on, and what that
// instance is asked. One strategy for each thing that can be known of an answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/request.h"
#include "common/http/message.h"
#include "common/upstream/call.h"
#include "common/upstream/raw_answer.h"
#include "common/upstream/reader.h"
#include "common/upstream/sse.h"
#include "service/gateway/context.h"

namespace holdfast::gateway {

// Of one answer. An answer keeps to the strategy that it has begun with. Loop thread only; context
// and request outlive it.
class Continuation {
public:
    virtual ~Continuation() = default;

    virtual Guarantee guarantee() const = 0;
    // Something has been delivered.
    virtual bool begun() const = 0;
    // Grows with what is delivered: about one for each token.
    virtual std::uint32_t gained() const = 0;
    // Once begun: who may go on.
    virtual void narrow(Need& need) const = 0;
    // The call of the next attempt.
    virtual upstream::Call call(const fleet::Instance& instance) = 0;
    virtual void add_headers(http::Headers& headers) const = 0;
    // True if that call is a question whose answer is needed before the attempt's own call.
    virtual bool asks_first() const { return false; }
    virtual base::Result<> learn(std::string_view) { return {}; }
    // That attempt's instance answers.
    virtual base::Result<> begin(const fleet::Instance& instance, const http::Headers& headers) = 0;
    // What it says, as in upstream::Reader.
    virtual void feed(std::string_view bytes) = 0;
    virtual base::Result<std::optional<upstream::Reader::Read>> next() = 0;
    // An event is about to be delivered. Refuses what no sound instance says.
    virtual base::Result<> keep(const chat::Event& event) = 0;
    // The instance may close the connection after a finish, without a word about the end.
    virtual bool ends_silently() const { return true; }
    // The whole answer's usage, as far as it is known here.
    virtual chat::Usage total(const chat::Usage& reported) const = 0;
    virtual void forget() = 0;
};

// Workers tell token ids, and go on from them byte for byte.
class ContinueByIds final : public Continuation {
public:
    ContinueByIds(Context& context, const chat::Request& request)
        : context_(context), request_(request) {}

    Guarantee guarantee() const override { return Guarantee::exact; }
    bool begun() const override { return gained() > 0; }
    std::uint32_t gained() const override;
    void narrow(Need& need) const override;
    upstream::Call call(const fleet::Instance& instance) override;
    void add_headers(http::Headers& headers) const override;
    base::Result<> begin(const fleet::Instance& instance, const http::Headers& headers) override;
    void feed(std::string_view bytes) override { reader_->feed(bytes); }
    base::Result<std::optional<upstream::Reader::Read>> next() override { return reader_->next(); }
    base::Result<> keep(const chat::Event& event) override;
    bool ends_silently() const override { return false; }
    chat::Usage total(const chat::Usage& reported) const override { return reported; }
    void forget() override;

private:
    Context& context_;
    const chat::Request& request_;
    std::optional<upstream::Reader> reader_;
};

// External servers tell text, and some go on from it, at least with the same model. Where none can,
// the answer has to begin again: `guarantee` says which.
class ContinueByText final : public Continuation {
public:
    ContinueByText(Context& context, const chat::Request& request)
        : context_(context), request_(request) {}

    // Before anything is delivered: the instance that the answer begins at.
    void choose(const upstream::Peer& peer) {
        possible_ = upstream::can_continue(peer, request_.generation);
    }

    Guarantee guarantee() const override {
        return possible_ ? Guarantee::same_model : Guarantee::restart;
    }
    bool begun() const override { return events_ > 0; }
    std::uint32_t gained() const override { return events_; }
    void narrow(Need& need) const override { need.text = &request_.generation; }
    upstream::Call call(const fleet::Instance& instance) override;
    void add_headers(http::Headers&) const override {}
    base::Result<> begin(const fleet::Instance& instance, const http::Headers&) override;
    void feed(std::string_view bytes) override { reader_->feed(bytes); }
    base::Result<std::optional<upstream::Reader::Read>> next() override { return reader_->next(); }
    base::Result<> keep(const chat::Event& event) override;
    chat::Usage total(const chat::Usage& reported) const override;
    void forget() override;

private:
    Context& context_;
    const chat::Request& request_;
    upstream::Delivered delivered_;  // by earlier attempts
    std::optional<upstream::Reader> reader_;
    bool possible_ = false;
    bool server_splits_ = false;
    std::uint32_t events_ = 0;  // that brought text
    std::uint32_t before_ = 0;  // of these, by attempts before the running one
    std::size_t bytes_ = 0;
};

// External servers that tell the prompt and go on after any part of the answer (upstream/raw.h).
class ContinueRaw final : public Continuation {
public:
    explicit ContinueRaw(const chat::Request& request) : request_(request) {}

    // Before anything is delivered: the instance that the answer begins at.
    void choose(const upstream::Peer& peer);

    Guarantee guarantee() const override;
    bool begun() const override { return gained() > 0; }
    std::uint32_t gained() const override { return answer_ ? answer_->tokens() : 0; }
    void narrow(Need& need) const override;
    upstream::Call call(const fleet::Instance& instance) override;
    void add_headers(http::Headers&) const override {}
    bool asks_first() const override { return !answer_; }
    base::Result<> learn(std::string_view body) override;
    base::Result<> begin(const fleet::Instance& instance, const http::Headers&) override;
    void feed(std::string_view bytes) override { events_.feed(bytes); }
    base::Result<std::optional<upstream::Reader::Read>> next() override;
    base::Result<> keep(const chat::Event&) override { return {}; }
    chat::Usage total(const chat::Usage& reported) const override { return reported; }
    void forget() override { answer_.reset(); }

private:
    void take_prompt(upstream::RawPrompt prompt);

    const chat::Request& request_;
    const upstream::Kind* kind_ = nullptr;
    std::optional<upstream::RawAnswer> answer_;  // once the prompt is known
    upstream::SseParser events_;
    std::size_t bytes_ = 0;
};

}  // namespace holdfast::gateway
