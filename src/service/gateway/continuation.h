// How an answer goes on at another instance: what is kept of it, who may go on, and what that
// instance is asked. One strategy for each thing that can be known of an answer.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/request.h"
#include "common/http/message.h"
#include "common/upstream/call.h"
#include "common/upstream/reader.h"
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
    // That attempt's instance answers.
    virtual base::Result<> begin(const http::Headers& headers) = 0;
    // How its events are read.
    virtual upstream::Reader reader(const fleet::Instance& instance) const = 0;
    // An event is about to be delivered. Refuses what no sound instance says.
    virtual base::Result<> keep(const chat::Event& event, const upstream::Reader& reader) = 0;
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
    base::Result<> begin(const http::Headers& headers) override;
    upstream::Reader reader(const fleet::Instance& instance) const override;
    base::Result<> keep(const chat::Event& event, const upstream::Reader& reader) override;
    chat::Usage total(const chat::Usage& reported) const override { return reported; }
    void forget() override;

private:
    Context& context_;
    const chat::Request& request_;
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
    base::Result<> begin(const http::Headers&) override { return {}; }
    upstream::Reader reader(const fleet::Instance& instance) const override;
    base::Result<> keep(const chat::Event& event, const upstream::Reader& reader) override;
    chat::Usage total(const chat::Usage& reported) const override;
    void forget() override;

private:
    Context& context_;
    const chat::Request& request_;
    upstream::Delivered delivered_;  // by earlier attempts
    bool possible_ = false;
    bool server_splits_ = false;
    std::uint32_t events_ = 0;  // that brought text
    std::uint32_t before_ = 0;  // of these, by attempts before the running one
    std::size_t bytes_ = 0;
};

}  // namespace holdfast::gateway
