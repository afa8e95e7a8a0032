// Errors as values. A Result is either a value or an Error; no exception crosses a room.
#pragma once

#include <fmt/format.h>

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::base {

// Few codes; each tells the caller what to do.
enum class Code {
    invalid,      // the input is wrong: tell whoever sent it, do not retry
    not_found,    // what was named does not exist: do not retry
    overloaded,   // no room right now: retry later
    deadline,     // the time allowed has passed
    cancelled,    // nobody wants the answer any more
    unavailable,  // the peer or the resource is not there: another one may be
    corrupt,      // data that should be sound is not: do not trust it again
    internal,     // a bug or an exhausted system resource
};

// Whose fault it was. Health counts only what the instance did.
enum class Origin { self, client, instance, system };

enum class Retry { no, elsewhere, later };

struct Error {
    Code code = Code::internal;
    std::string what;  // one sentence for people: names the field or file and the reason
    Origin origin = Origin::self;
    Retry retry = Retry::no;
    std::string field;  // the offending input field, empty if there is none
    std::string tag;    // a stable word for programs, such as "context_length_exceeded"
};

std::string_view name(Code code);

template <class T = void>
using Result = std::expected<T, Error>;

// fail(Code::invalid, "limit {} exceeds {}", a, b) makes the unexpected side of any Result.
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(Code code, fmt::format_string<Args...> format,
                                          Args&&... args) {
    return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

// The request's field `field` is wrong.
template <class... Args>
[[nodiscard]] std::unexpected<Error> fail_field(std::string_view field,
                                                fmt::format_string<Args...> format,
                                                Args&&... args) {
    return std::unexpected(Error{Code::invalid, fmt::format(format, std::forward<Args>(args)...),
                                 Origin::client, Retry::no, std::string(field)});
}

}  // namespace holdfast::base

// Returns the error of `expression` from the calling function, or goes on. HF_TRY_ASSIGN also
// declares or assigns the value. In coroutines use HF_CO_TRY and HF_CO_TRY_ASSIGN.
#define HF_CONCAT_(a, b) a##b
#define HF_CONCAT(a, b) HF_CONCAT_(a, b)
#define HF_TRY(expression)                                        \
    do {                                                          \
        if (auto hf_result = (expression); !hf_result)            \
            return std::unexpected(std::move(hf_result).error()); \
    } while (false)
#define HF_TRY_ASSIGN_(result, target, expression)                  \
    auto result = (expression);                                     \
    if (!result) return std::unexpected(std::move(result).error()); \
    target = *std::move(result)
#define HF_TRY_ASSIGN(target, expression) \
    HF_TRY_ASSIGN_(HF_CONCAT(hf_result_, __LINE__), target, expression)
#define HF_CO_TRY(expression)                                                    \
    do {                                                                         \
        auto hf_result = (expression);                                           \
        if (!hf_result) co_return std::unexpected(std::move(hf_result).error()); \
    } while (false)
#define HF_CO_TRY_ASSIGN_(result, target, expression)                  \
    auto result = (expression);                                        \
    if (!result) co_return std::unexpected(std::move(result).error()); \
    target = *std::move(result)
#define HF_CO_TRY_ASSIGN(target, expression) \
    HF_CO_TRY_ASSIGN_(HF_CONCAT(hf_result_, __LINE__), target, expression)
