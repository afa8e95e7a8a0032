#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "common/upstream/limits.h"
#include "common/upstream/sse.h"
#include "common/upstream/text.h"
#include "service/fleet/probe.h"

namespace holdfast::fleet {

namespace {

struct Fetched {
    int status = 0;
    std::string body;
};

std::unexpected<ProbeError> garbage(std::string why) {
    return std::unexpected(ProbeError{ProbeFailure::garbage, std::move(why)});
}

ProbeError stuck() { return {ProbeFailure::stuck, "answers, but generates nothing"}; }

ProbeError probe_error(const base::Error& error) {
    switch (error.code) {
        case base::Code::deadline:
            return {ProbeFailure::silent, error.what};
        case base::Code::unavailable:
            return {ProbeFailure::unreachable, error.what};
        default:
            return {ProbeFailure::garbage, error.what};
    }
}

std::string reasons_of(const upstream::Readiness& readiness) {
    std::string reasons = fmt::format("{}", fmt::join(readiness.reasons, ", "));
    if (readiness.load_progress < 1)
        reasons += fmt::format("{}{:.0f} % loaded", reasons.empty() ? "" : ", ",
                               readiness.load_progress * 100);
    return upstream::one_line(reasons, upstream::reason_bytes_max);
}

Probed probed_from(upstream::Readiness readiness) {
    Probed probed;
    probed.answer = {readiness.ready, readiness.draining, reasons_of(readiness),
                     std::uint64_t{readiness.running} + readiness.waiting, readiness.progress};
    probed.instance_life = std::move(readiness.instance_life);
    probed.fingerprint = std::move(readiness.fingerprint);
    probed.pid = readiness.pid;
    if (!readiness.model.empty())
        probed.models = {upstream::ListedModel{std::move(readiness.model), readiness.context}};
    return probed;
}

http::ClientLimits probe_limits() {
    http::ClientLimits limits;
    limits.idle_per_host_max = 1;
    limits.body_bytes_max = 1024 * 1024;
    return limits;
}

class HttpProber final : public Prober {
public:
    HttpProber(loop::Loop& loop, const base::Clock& clock)
        : clock_(clock), client_(loop, clock, probe_limits()) {}

    loop::Task<ProbeResult> probe(ProbeAsk ask) override {
        switch (ask.kind->probe.says) {
            case upstream::ProbePlan::Says::readiness:
                return probe_readiness(std::move(ask));
            case upstream::ProbePlan::Says::alive:
                return probe_liveness(std::move(ask));
            case upstream::ProbePlan::Says::models:
                return probe_models(std::move(ask));
        }
        std::unreachable();
    }

private:
    loop::Task<std::expected<Fetched, ProbeError>> fetch(http::Url url, http::ClientRequest request,
                                                         base::Duration silence_max) {
        const auto deadline = base::Deadline::after(clock_, silence_max);
        http::ClientDeadlines deadlines{deadline, deadline};
        auto exchange = co_await client_.send(std::move(url), std::move(request), deadlines);
        if (!exchange) co_return std::unexpected(probe_error(exchange.error()));
        auto body = co_await (*exchange)->read_all(deadline);
        if (!body) co_return std::unexpected(probe_error(body.error()));
        co_return Fetched{(*exchange)->status(), *std::move(body)};
    }

    loop::Task<std::expected<Fetched, ProbeError>> get(http::Url url, std::string path,
                                                       base::Duration silence_max) {
        http::ClientRequest request;
        request.path = std::move(path);
        return fetch(std::move(url), std::move(request), silence_max);
    }

    loop::Task<std::expected<Fetched, ProbeError>> post(http::Url url, upstream::Call call,
                                                        base::Duration silence_max) {
        http::ClientRequest request{"POST", std::move(call.path), {}, std::move(call.body)};
        request.headers.add("Content-Type", "application/json");
        return fetch(std::move(url), std::move(request), silence_max);
    }

    loop::Task<ProbeResult> probe_readiness(ProbeAsk ask) {
        const std::string path(ask.kind->probe.path);
        const auto fetched = co_await get(ask.url, path, ask.silence_max);
        if (!fetched) co_return std::unexpected(fetched.error());
        if (fetched->status != 200 && fetched->status != 503) {
            co_return garbage(fmt::format("{} answered {}", path, fetched->status));
        }
        auto readiness = upstream::parse_readiness(fetched->body);
        if (!readiness) co_return garbage(readiness.error().what);
        co_return probed_from(*std::move(readiness));
    }

    loop::Task<ProbeResult> probe_liveness(ProbeAsk ask) {
        const std::string path(ask.kind->probe.path);
        const auto fetched = co_await get(ask.url, path, ask.silence_max);
        if (!fetched) co_return std::unexpected(fetched.error());
        Probed probed;
        if (fetched->status == 503) {
            probed.answer.reasons = "loading";
            co_return probed;
        }
        if (fetched->status != 200) {
            co_return garbage(fmt::format("{} answered {}", path, fetched->status));
        }
        if (ask.want_models) co_return co_await probe_models(std::move(ask));
        if (ask.want_trial) {
            const bool moves = co_await generates(ask);
            if (!moves) co_return std::unexpected(stuck());
            probed.tried = true;
        }
        if (ask.want_offer) {
            probed.offer_asked = true;
            probed.offer = co_await try_offer(ask);
        }
        probed.answer.ready = true;
        co_return probed;
    }

    // Nothing if it did not find the time to answer.
    loop::Task<std::optional<upstream::Offer>> try_offer(const ProbeAsk& ask) {
        const upstream::RawForm& form = *ask.kind->raw;
        const std::vector<chat::Message> messages{{chat::Role::user, "1", ""}};
        auto told = co_await post(ask.url, form.render(ask.model, messages), ask.silence_max);
        if (!told) co_return std::nullopt;
        upstream::Offer offer = ask.kind->offer;
        if (told->status != 200) co_return offer;
        const auto prompt = form.read_rendered(told->body);
        if (!prompt) co_return offer;
        offer.renders = true;
        const auto answer = co_await post(ask.url, upstream::raw_trial(form, ask.model, *prompt),
                                          ask.trial_silence_max);
        if (!answer) co_return std::nullopt;
        offer.tells_ids = answer->status == 200 && tells_ids(form, answer->body);
        co_return offer;
    }

    static bool tells_ids(const upstream::RawForm& form, std::string_view body) {
        upstream::SseParser events;
        events.feed(body);
        for (;;) {
            const auto event = events.next();
            if (!event || !*event) return false;
            const auto piece = form.read((*event)->data);
            if (!piece) return false;
            if (!piece->ids.empty()) return true;
        }
    }

    // One token within the time, or progress with what others want of it.
    loop::Task<bool> generates(const ProbeAsk& ask) {
        const upstream::RawForm& form = *ask.kind->raw;
        const auto before = co_await progress(ask, form);
        const upstream::RawPrompt prompt{.text = "1"};
        const auto answer = co_await post(ask.url, upstream::raw_trial(form, ask.model, prompt),
                                          ask.trial_silence_max);
        if (answer) co_return answer->status < 500 || answer->status == 503;
        const auto after = co_await progress(ask, form);
        co_return before&& after && *before != *after;
    }

    loop::Task<std::optional<double>> progress(const ProbeAsk& ask, const upstream::RawForm& form) {
        const auto page = co_await get(ask.url, std::string(form.progress_path), ask.silence_max);
        if (!page || page->status != 200) co_return std::nullopt;
        co_return form.read_progress(page->body);
    }

    loop::Task<ProbeResult> probe_models(ProbeAsk ask) {
        const auto fetched = co_await get(ask.url, "/v1/models", ask.silence_max);
        if (!fetched) co_return std::unexpected(fetched.error());
        Probed probed;
        switch (fetched->status) {
            case 200: {
                auto models = upstream::parse_models(fetched->body);
                if (!models) co_return garbage(models.error().what);
                probed.models = *std::move(models);
                break;
            }
            case 404:
            case 405:
            case 501:
                probed.models.emplace();  // alive, but does not list its models
                break;
            case 429:
                break;  // alive, and no time for questions
            case 503:
                probed.answer.reasons = "loading";
                co_return probed;
            default:
                co_return garbage(fmt::format("/v1/models answered {}", fetched->status));
        }
        probed.answer.ready = true;
        co_return probed;
    }

    const base::Clock& clock_;
    http::Client client_;
};

}  // namespace

std::unique_ptr<Prober> make_http_prober(loop::Loop& loop, const base::Clock& clock) {
    return std::make_unique<HttpProber>(loop, clock);
}

}  // namespace holdfast::fleet
