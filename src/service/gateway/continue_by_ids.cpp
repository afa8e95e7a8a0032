#include "service/gateway/continuation.h"

namespace holdfast::gateway {

namespace {

constexpr std::string_view fingerprint_header = "x-holdfast-fingerprint";
// An id more or less is no reason to call an instance sick.
constexpr std::uint64_t spare_ids = 16;

std::unexpected<base::Error> corrupt(std::string what) {
    return std::unexpected(base::Error{base::Code::corrupt, std::move(what), base::Origin::instance,
                                       base::Retry::elsewhere});
}

}  // namespace

std::uint32_t ContinueByIds::gained() const { return context_.lane.journal.count(*context_.entry); }

void ContinueByIds::narrow(Need& need) const {
    need.fingerprint = context_.lane.journal.fingerprint(*context_.entry);
}

upstream::Call ContinueByIds::call(const fleet::Instance& instance) {
    if (!begun()) return upstream::encode(request_, instance.peer, instance.upstream_model, {});
    chat::Request request = request_;
    request.generation.resume =
        chat::Resume{context_.lane.journal.delivered(*context_.entry, request_.generation.choices)};
    return upstream::encode(request, instance.peer, instance.upstream_model, {});
}

void ContinueByIds::add_headers(http::Headers& headers) const {
    headers.add("x-holdfast-ping-ms",
                fmt::format_int(context_.allowance.progress_every().count()).c_str());
    if (begun())
        headers.add(fingerprint_header, context_.lane.journal.fingerprint(*context_.entry));
}

// The journal's ids go on only at the same fingerprint, whatever the instance thinks of it.
base::Result<> ContinueByIds::begin(const fleet::Instance& instance, const http::Headers& headers) {
    reader_.emplace(instance.peer, request_.generation, upstream::Delivered{});
    Journal& journal = context_.lane.journal;
    const std::string_view fingerprint = headers.find(fingerprint_header).value_or("");
    if (begun() && fingerprint != journal.fingerprint(*context_.entry))
        return corrupt("the instance goes on with other numerics than asked for");
    if (!journal.set_fingerprint(*context_.entry, fingerprint))
        return corrupt("the instance's fingerprint is too long");
    return {};
}

base::Result<> ContinueByIds::keep(const chat::Event& event) {
    // What no id stands for could not be found again. An echo of the prompt is such text.
    const bool says = !event.reasoning.empty() || !event.content.empty();
    if (says && event.ids.empty() && !event.finish && !request_.generation.echo)
        return corrupt("the instance says text without ids");
    if (request_.generation.stopping.max_tokens) {
        const std::uint64_t ids_max = std::uint64_t{request_.generation.choices} *
                                      (*request_.generation.stopping.max_tokens + spare_ids);
        if (gained() + event.ids.size() > ids_max)
            return corrupt("the instance generates more than it was asked for");
    }
    return context_.lane.journal.append(*context_.entry, context_.record.attempts, event.choice,
                                        event.ids);
}

void ContinueByIds::forget() { context_.lane.journal.forget(*context_.entry); }

}  // namespace holdfast::gateway
