# Outside headers that most files parse, parsed once for all rooms: precompiled headers, for code and
# for tests, with Asio and without, because every file pays for the global objects of what it includes.
# (CLI11's cost two seconds a file, so it is in none.) A room gets the one that fits what it uses.
# Files still include what they need: `make check` reads every source without these.
option(HOLDFAST_PRECOMPILE "parse outside headers once for all rooms" ON)

set(precompiled_code
  <algorithm> <array> <atomic> <bit> <charconv> <chrono> <cmath> <condition_variable> <cstddef>
  <cstdint> <cstdio> <cstdlib> <cstring> <deque> <expected> <filesystem> <fstream> <functional>
  <limits> <map> <memory> <mutex> <numeric> <optional> <random> <set> <span> <string> <string_view>
  <system_error> <thread> <unordered_map> <utility> <variant> <vector>
  <fmt/format.h> <fmt/ranges.h> <simdjson.h>)
set(precompiled_asio
  <boost/asio/as_tuple.hpp> <boost/asio/awaitable.hpp> <boost/asio/basic_waitable_timer.hpp>
  <boost/asio/bind_cancellation_slot.hpp> <boost/asio/cancellation_signal.hpp>
  <boost/asio/co_spawn.hpp> <boost/asio/detached.hpp> <boost/asio/executor_work_guard.hpp>
  <boost/asio/io_context.hpp> <boost/asio/ip/tcp.hpp>
  <boost/asio/posix/basic_stream_descriptor.hpp> <boost/asio/post.hpp>
  <boost/asio/steady_timer.hpp> <boost/asio/this_coro.hpp> <boost/asio/use_awaitable.hpp>
  <spdlog/spdlog.h>)
set(precompiled_test <gmock/gmock.h> <gtest/gtest.h>)

# precompiled_${kind} carries the headers; its own code is nothing.
function(holdfast_precompiled kind)
  add_library(precompiled_${kind} OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cpp)
  target_precompile_headers(precompiled_${kind} PRIVATE ${ARGN})
  target_link_libraries(precompiled_${kind} PRIVATE fmt::fmt simdjson::simdjson)
  if(kind MATCHES "asio")
    target_link_libraries(precompiled_${kind} PRIVATE asio spdlog::spdlog)
  endif()
  if(kind MATCHES "test")
    target_link_libraries(precompiled_${kind} PRIVATE GTest::gmock)
  endif()
endfunction()

# CMake's own form for Clang also includes the header as text, by an absolute path that ccache cannot
# make relative, so that one folder's objects would not serve another.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set(CMAKE_CXX_COMPILE_OPTIONS_USE_PCH -include-pch <PCH_FILE>)
endif()
if(HOLDFAST_PRECOMPILE)
  holdfast_precompiled(code ${precompiled_code})
  holdfast_precompiled(code_test ${precompiled_code} ${precompiled_test})
  holdfast_precompiled(asio ${precompiled_code} ${precompiled_asio})
  holdfast_precompiled(asio_test ${precompiled_code} ${precompiled_asio} ${precompiled_test})
endif()

# Gives the room's library, and its test program if it has one, the precompiled header that fits: the
# one with Asio if the room links it or uses a room that does.
function(use_precompiled target uses links)
  set(kind code)
  if("asio" IN_LIST links)
    set(kind asio)
  endif()
  foreach(used ${uses})
    get_target_property(used_kind ${used} HOLDFAST_PRECOMPILED)
    if(used_kind STREQUAL "asio")
      set(kind asio)
    endif()
  endforeach()
  set_target_properties(room_${target} PROPERTIES HOLDFAST_PRECOMPILED ${kind})
  if(NOT HOLDFAST_PRECOMPILE)
    return()
  endif()
  get_target_property(type room_${target} TYPE)
  if(NOT type STREQUAL "INTERFACE_LIBRARY")
    target_precompile_headers(room_${target} REUSE_FROM precompiled_${kind})
  endif()
  if(TARGET ${target}_test)
    target_precompile_headers(${target}_test REUSE_FROM precompiled_${kind}_test)
  endif()
endfunction()
