// What a successor of the gateway does with a journal: it lets the answer be told again from its
// beginning, and drops what the client has.
#include "service/gateway/reply.h"

#include <gtest/gtest.h>

#include "service/gateway/test_world.h"

namespace holdfast::gateway {
namespace {

// Takes everything that is sent, without framing.
class Recorder final : public http::Responder {
public:
    loop::Task<base::Result<>> send(http::Response response) override {
        return take(std::move(response.body));
    }
    void start(int, http::Headers) override {}
    loop::Task<base::Result<>> write(std::string_view piece) override {
        return take(std::string(piece));
    }
    loop::Task<base::Result<>> finish(std::string_view last) override {
        return take(std::string(last));
    }
    void nudge(std::string_view) override {}
    std::uint64_t bytes_sent() const override { return bytes.size(); }
    http::Framing framing() const override { return http::Framing::chunked; }
    bool client_gone() const override { return false; }

    std::string bytes;

private:
    loop::Task<base::Result<>> take(std::string piece) {
        bytes += piece;
        co_return base::Result<>{};
    }
};

struct NoInstance {
    NoInstance(loop::Loop&, const base::Clock&) {}
};

// An instance's text for each id is a function of the ids: here of one alone.
chat::Event said(const Journal::Ids& ids) {
    chat::Event event;
    event.choice = ids.choice;
    for (const chat::TokenId id : ids.ids) {
        event.ids.push_back(id);
        (id < 10 ? event.reasoning : event.content) += fmt::format("<{}>", id);
    }
    return event;
}

class ReplyTest : public GatewayTest<NoInstance> {
protected:
    ReplyTest() : GatewayTest(std::chrono::milliseconds(1)) {
        request_ = *dialect_.routes.front().parse(body_);
        context_.allowance.pings = options_.pings;
        context_.record.guarantee = Guarantee::exact;
    }

    // Runs what an exchange would co_await.
    void run(loop::Task<base::Result<>> task) {
        asio::co_spawn(loop_, std::move(task), [this](std::exception_ptr, base::Result<> done) {
            EXPECT_TRUE(done);
            loop_.stop();
        });
        loop_.run();
        loop_.restart();
    }

    // The whole answer of these events, of which the client has `known` bytes.
    std::string replay(const std::vector<Journal::Ids>& events, std::uint64_t known) {
        const auto id = context_.entry;
        Recorder recorder;
        Context context{.lane = lane_,
                        .responder = recorder,
                        .arrived = clock_.now(),
                        .request_id = journal_.request_id(*id),
                        .allowance = context_.allowance,
                        .entry = id,
                        .record = {}};
        context.record.guarantee = Guarantee::exact;
        const auto request = dialect_.routes.front().parse(journal_.body(*id));
        Reply reply(context, *request, dialect_,
                    {journal_.answer_id(*id), journal_.created(*id), journal_.model(*id)});
        reply.skip(known);
        for (const Journal::Ids& event : events) {
            reply.event(said(event));
            run(reply.flush());
        }
        run(end(reply));
        return recorder.bytes;
    }

    static loop::Task<base::Result<>> end(Reply& reply) {
        chat::Event last;
        last.finish = chat::FinishReason::stop;
        last.usage = chat::Usage{.prompt_tokens = 3, .completion_tokens = 6};
        reply.event(last);
        return reply.finish();
    }

    const dialect::Dialect& dialect_ = *dialect::find("POST", "/v1/chat/completions").dialect;
    const std::string body_ =
        R"({"model":"m","stream":true,"stream_options":{"include_usage":true},)"
        R"("messages":[{"role":"user","content":"hi"}]})";
    chat::Request request_;
    Recorder recorder_;
    Context context_{.lane = lane_,
                     .responder = recorder_,
                     .arrived = clock_.now(),
                     .request_id = "r",
                     .allowance = {},
                     .entry = *journal_.open({.request_id = "r",
                                              .path = "/v1/chat/completions",
                                              .body = body_,
                                              .answer_id = "chatcmpl-1",
                                              .model = "m",
                                              .created = 7}),
                     .record = {}};
};

TEST_F(ReplyTest, CanBeToldAgainFromTheJournalAndGoOnAtAnyByte) {
    const std::vector<std::vector<chat::TokenId>> events{{1}, {2, 3}, {10}, {11, 12}};
    Reply reply(context_, request_, dialect_, {"chatcmpl-1", 7, "m"});
    std::vector<std::uint64_t> known;
    for (const auto& ids : events) {
        ASSERT_TRUE(journal_.append(*context_.entry, 0, 0, ids));
        reply.event(said({0, ids}));
        run(reply.flush());
        known.push_back(journal_.sent(*context_.entry).answer);
        EXPECT_EQ(known.back(), recorder_.bytes.size());
        EXPECT_EQ(journal_.sent(*context_.entry).under_way, 0U);
    }
    EXPECT_EQ(journal_.framing(*context_.entry), http::Framing::chunked);
    const auto journaled = journal_.id_events(*context_.entry);
    ASSERT_EQ(journaled.size(), events.size());
    run(end(reply));
    const std::string whole = recorder_.bytes;
    for (std::uint64_t at = 0; at <= known.back(); ++at)
        ASSERT_EQ(replay(journaled, at), whole.substr(at)) << at;
    journal_.close(*context_.entry);
}

}  // namespace
}  // namespace holdfast::gateway
