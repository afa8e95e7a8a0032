// The coroutine type of all socket code. One event loop is one io_context run by one thread;
// everything a task touches belongs to its loop.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace holdfast {

namespace asio = boost::asio;

}  // namespace holdfast

namespace holdfast::loop {

using Loop = asio::io_context;
using Executor = asio::io_context::executor_type;

template <class T = void>
using Task = asio::awaitable<T, Executor>;

// Completion token: an operation gives (error_code, values...) instead of throwing.
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> as_result{};

}  // namespace holdfast::loop
