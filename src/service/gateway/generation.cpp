#include "service/gateway/generation.h"

#include <algorithm>

#include "common/base/assert.h"
#include "service/gateway/relay.h"

namespace holdfast::gateway {

namespace {

// Of an event stream, generously: what the longest sound answer needs for a token, also with log
// probabilities, and what it needs at all.
constexpr std::uint64_t bytes_per_token = 2048, bytes_per_scored_token = 16 * 1024;
constexpr std::uint64_t bytes_in_any_case = 1U << 20;
// No context is larger, where an instance does not say how large its own is.
constexpr std::uint64_t context_max = 1U << 22;

std::unexpected<base::Error> corrupt(std::string what) {
    return std::unexpected(base::Error{base::Code::corrupt, std::move(what), base::Origin::instance,
                                       base::Retry::elsewhere});
}

double seconds(base::Duration time) { return std::chrono::duration<double>(time).count(); }

// Counts one answer among the model's running ones.
class Running {
public:
    explicit Running(ModelMetrics& metrics) : metrics_(metrics) { metrics_.running.add(1); }
    ~Running() { metrics_.running.add(-1); }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

private:
    ModelMetrics& metrics_;
};

}  // namespace

Generation::Generation(Context& context, const dialect::Dialect& dialect, std::string_view methods)
    : context_(context),
      dialect_(dialect),
      methods_(methods),
      by_ids_(context, request_),
      by_text_(context, request_),
      raw_(request_) {}

base::Result<> Generation::parse(const http::Request& request) {
    const dialect::Found found = dialect::find(request.method, request.path);
    HF_ASSERT(found.route != nullptr);  // methods() has been asked
    HF_TRY_ASSIGN(request_, found.route->parse(request.body));
    base::Entropy& entropy = context_.lane.entropy;
    // Where the client leaves chance to us, it must be the same chance on every attempt.
    if (!request_.generation.sampling.seed) request_.generation.sampling.seed = entropy.next() >> 1;
    head_ = {std::string(dialect_.id_prefix) + base::random_hex(entropy, 12),
             context_.lane.clock.unix_seconds(), request_.model};
    return {};
}

std::optional<Journal::Opening> Generation::opening() const {
    return Journal::Opening{.request_id = {},
                            .path = {},
                            .body = {},
                            .answer_id = head_.id,
                            .model = head_.model,
                            .created = head_.created,
                            .seed = *request_.generation.sampling.seed};
}

loop::Task<base::Result<>> Generation::answer() {
    const Running running(*context_.metrics);
    reply_.emplace(context_, request_, dialect_, std::move(head_));
    Relay relay(context_, *this);
    auto outcome = co_await relay.run();
    reply_->quiet();
    co_return outcome;
}

Need Generation::need() const {
    Need need;
    need.model = request_.model;
    if (how_->begun()) how_->narrow(need);
    return need;
}

base::Result<upstream::Call> Generation::call(const fleet::Instance& instance) {
    if (!how_->begun()) choose(instance);
    return how_->call(instance);
}

void Generation::choose(const fleet::Instance& instance) {
    if (instance.peer.offer.continues_ids) {
        how_ = &by_ids_;
    } else if (upstream::fits_raw(instance.peer, request_.generation)) {
        raw_.choose(instance.peer);
        how_ = &raw_;
    } else {
        by_text_.choose(instance.peer);
        how_ = &by_text_;
    }
    context_.record.guarantee = how_->guarantee();
}

base::Result<upstream::Call> Generation::learn(const fleet::Instance& instance,
                                               std::string_view body) {
    HF_TRY(how_->learn(body));
    return how_->call(instance);
}

std::uint64_t Generation::tokens_max() const {
    const std::uint64_t context = instance_context_ > 0 ? instance_context_ : context_max;
    return request_.generation.choices *
           std::min<std::uint64_t>(context,
                                   request_.generation.stopping.max_tokens.value_or(UINT32_MAX));
}

std::uint64_t Generation::bytes_max(const fleet::Instance&) const {
    return bytes_in_any_case +
           tokens_max() * (request_.generation.logprobs ? bytes_per_scored_token : bytes_per_token);
}

base::Result<> Generation::begin(const fleet::Instance& instance, const http::Headers& headers) {
    HF_TRY(how_->begin(instance, headers));
    instance_context_ = instance.context;
    reply_->accepted();
    return {};
}

base::Result<bool> Generation::take(std::string_view piece) {
    how_->feed(piece);
    for (;;) {
        HF_TRY_ASSIGN(auto read, how_->next());
        if (!read) return false;
        if (read->event) HF_TRY(deliver(*read->event));
        if (!read->done) continue;
        if (!all_finished()) return corrupt("the instance ended an answer that is not finished");
        return true;
    }
}

// External servers may end without [DONE].
base::Result<> Generation::ended() {
    if (how_->ends_silently() && all_finished()) return {};
    return std::unexpected(lost("the answer ended early"));
}

// Journals, then encodes. Nothing is sent before the journal has it.
base::Result<> Generation::deliver(chat::Event& event) {
    if (event.choice >= request_.generation.choices)
        return corrupt("the instance answered a choice that was not asked for");
    // After its end a choice says nothing more; a replay says the end again.
    if ((finished_ & 1U << event.choice) != 0)
        event = {.choice = event.choice, .usage = std::move(event.usage)};
    HF_TRY(how_->keep(event));
    if (event.finish) {
        finished_ |= 1U << event.choice;
        if (event.choice == 0) context_.record.finish = chat::name(*event.finish);
    }
    if (event.usage) {
        event.usage = checked(how_->total(*event.usage));
        context_.record.usage = event.usage;
    }
    note_times(event);
    const bool says_something = !event.ids.empty() || !event.reasoning.empty() ||
                                !event.content.empty() || !event.scores.empty() || event.finish ||
                                event.usage;
    if (says_something) reply_->event(event);
    return {};
}

// What cannot be is replaced by what was seen: figures end in bills and metrics.
chat::Usage Generation::checked(const chat::Usage& reported) const {
    chat::Usage usage = reported;
    if (usage.completion_tokens > tokens_max()) usage.completion_tokens = how_->gained();
    const std::uint64_t prompt_max = instance_context_ > 0 ? instance_context_ : context_max;
    if (usage.prompt_tokens > prompt_max) usage.prompt_tokens = 0;
    usage.reasoning_tokens = std::min(usage.reasoning_tokens, usage.completion_tokens);
    usage.cached_tokens = std::min(usage.cached_tokens, usage.prompt_tokens);
    return usage;
}

bool Generation::prepare_to_go_on() {
    if (!how_->begun() || how_->guarantee() != Guarantee::restart) return true;
    // Nothing has been sent of a whole answer, so it can begin again from nothing.
    if (request_.presentation.stream) return false;
    how_->forget();
    reply_->restart();
    finished_ = 0;
    return true;
}

void Generation::note_times(const chat::Event& event) {
    if (event.ids.empty() && event.reasoning.empty() && event.content.empty()) return;
    const base::Instant now = context_.now();
    Record& record = context_.record;
    if (record.first_token == base::Duration::zero()) {
        record.first_token = now - context_.arrived;
        context_.metrics->first_token.observe(seconds(record.first_token));
    } else {
        context_.metrics->token_gap.observe(seconds(now - last_event_));
    }
    if (!event.content.empty() && record.first_answer_token == base::Duration::zero()) {
        record.first_answer_token = now - context_.arrived;
        context_.metrics->first_answer_token.observe(seconds(record.first_answer_token));
    }
    last_event_ = now;
}

}  // namespace holdfast::gateway
