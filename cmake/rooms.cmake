# A room is one folder of a wing of src/ and one static library: holdfast_room(WING/ROOM ...). `USES`
# names the rooms it may include from; `LINKS` names outside libraries. scripts/check_source.py
# compares every #include with USES, and USES with what wings may see of each other.
# Targets are named without the wing: room_http, http_test, http_bench.
# A main.cpp belongs to a program that the room's CMakeLists.txt declares itself. Files named
# *_test.cpp become the room's test program, *_bench.cpp its benchmark program, and with
# HOLDFAST_FUZZ each *_fuzz.cpp a libFuzzer program.
# Files named *_avx2.cpp, *_avx512.cpp, *_vnni.cpp (AVX-512 with integer dot products), *_bf16.cpp
# (with bf16 dot products too) and *_amx.cpp (with AMX for bf16 too) are compiled for that instruction
# set, chosen at run time.
# Files *.cu are CUDA kernels (cmake/kernels.cmake), *_test.cu those of the test program. `CUDA` names
# the .cpp files of a room that only exist with them; where the compiler is not set up they are left
# out, and *_none.cpp stands in for them.
function(room_target result name)
  string(REGEX REPLACE "^[^/]*/" "" room ${name})
  string(REPLACE "/" "_" room ${room})
  set(${result} ${room} PARENT_SCOPE)
endfunction()

function(holdfast_room name)
  cmake_parse_arguments(ROOM "" "" "USES;LINKS;CUDA" ${ARGN})
  room_target(target ${name})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  if(NOT HOLDFAST_NVCC)
    set(kernels)
    list(TRANSFORM ROOM_CUDA PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    list(REMOVE_ITEM sources "" ${ROOM_CUDA})
  elseif(ROOM_CUDA)
    list(FILTER sources EXCLUDE REGEX "_none\\.cpp$")
  endif()
  set(test_kernels ${kernels})
  list(FILTER test_kernels INCLUDE REGEX "_test\\.cu$")
  list(FILTER kernels EXCLUDE REGEX "_test\\.cu$")
  set(tests ${sources})
  set(benches ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_(test|bench|fuzz)\\.cpp$|/main\\.cpp$")

  set(avx512 "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx2;-mfma;-mf16c")
  foreach(source ${sources})
    if(source MATCHES "_(avx2|avx512|vnni|bf16|amx)\\.cpp$")
      # A precompiled header fits only the instruction set that it was made for.
      set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
    endif()
    if(source MATCHES "_avx2\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
    elseif(source MATCHES "_avx512\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${avx512}")
    elseif(source MATCHES "_vnni\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${avx512};-mavx512vnni")
    elseif(source MATCHES "_bf16\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "${avx512};-mavx512vnni;-mavx512bf16")
    elseif(source MATCHES "_amx\\.cpp$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "${avx512};-mavx512vnni;-mavx512bf16;-mamx-tile;-mamx-bf16")
    endif()
  endforeach()

  set(uses)
  foreach(used ${ROOM_USES})
    room_target(used_target ${used})
    if(NOT TARGET room_${used_target})
      message(FATAL_ERROR "room ${name} uses ${used}, which does not exist or comes later")
    endif()
    list(APPEND uses room_${used_target})
  endforeach()
  if(sources)
    add_library(room_${target} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(room_${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(room_${target} ${scope} ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(room_${target} ${scope} ${uses} ${ROOM_LINKS})
  if(HOLDFAST_NVCC AND ROOM_CUDA)
    holdfast_kernels(room_${target} ${kernels})
    target_link_libraries(room_${target} ${scope} cudart)
  endif()

  if(tests)
    add_executable(${target}_test ${tests})
    target_link_libraries(${target}_test PRIVATE room_${target}
                          GTest::gmock GTest::gtest_main)
    target_compile_definitions(${target}_test PRIVATE HOLDFAST_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    add_test(NAME ${target} COMMAND ${target}_test)
    if(test_kernels)
      holdfast_kernels(${target}_test ${test_kernels})
    endif()
  endif()
  use_precompiled(${target} "${uses}" "${ROOM_LINKS}")
  if(HOLDFAST_FUZZ)
    file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_fuzz.cpp)
    foreach(fuzzer ${fuzzers})
      get_filename_component(stem ${fuzzer} NAME_WE)
      add_executable(${target}_${stem} ${fuzzer})
      target_link_libraries(${target}_${stem} PRIVATE room_${target})
      target_link_options(${target}_${stem} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()
  if(benches)
    add_executable(${target}_bench EXCLUDE_FROM_ALL ${benches})
    target_link_libraries(${target}_bench PRIVATE room_${target}
                          benchmark::benchmark_main)
    target_compile_definitions(${target}_bench PRIVATE HOLDFAST_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  endif()
endfunction()
