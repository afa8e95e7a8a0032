# CUDA kernels. CMake's own CUDA language stays off: its checks want a toolkit in one of the places
# that it knows, and ours is a folder of wheels (scripts/setup, cmake/cuda_toolkit.txt).
# Without that folder everything else builds, and the program says "built without CUDA".
option(HOLDFAST_CUDA "build the CUDA backend where its compiler is set up" ON)
file(GLOB cuda_folders CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/.cuda/lib/python3*/site-packages/nvidia/cu13)
set(HOLDFAST_NVCC "")
if(HOLDFAST_CUDA AND cuda_folders)
  list(GET cuda_folders 0 cuda_folder)
  if(EXISTS ${cuda_folder}/bin/nvcc)
    set(HOLDFAST_NVCC ${cuda_folder}/bin/nvcc)
    add_library(cudart INTERFACE)
    target_include_directories(cudart SYSTEM INTERFACE ${cuda_folder}/include)
    target_link_libraries(cudart INTERFACE
      ${cuda_folder}/lib/libcudart_static.a Threads::Threads ${CMAKE_DL_LIBS} rt)
  endif()
endif()
if(HOLDFAST_NVCC)
  message(STATUS "CUDA: ${HOLDFAST_NVCC}")
else()
  message(STATUS "CUDA: built without it (scripts/setup cuda brings the compiler)")
endif()

# Adds the kernels of these .cu files to `target`. The end of a file's name says what it is for:
# *_sm90.cu (or *_sm90_test.cu) uses instructions that only Hopper has; every other file is built for compute capability
# 8.0 and later, with Hopper's own machine code beside, so that nothing is compiled when it starts.
# As in C++, a multiplication and an addition are fused where the code says so and nowhere else.
# The host compiler is g++: nvcc does not accept clang 19.
function(holdfast_kernels target)
  foreach(source ${ARGN})
    get_filename_component(stem ${source} NAME_WE)
    get_filename_component(source ${source} ABSOLUTE)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}.kernels/${stem}.o)
    if(stem MATCHES "_sm90(_test)?$")
      set(code -gencode=arch=compute_90a,code=sm_90a)
    else()
      set(code -gencode=arch=compute_80,code=[sm_80,compute_80] -gencode=arch=compute_90,code=sm_90)
    endif()
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_SOURCE_DIR}/cmake/compile_kernel ${object}.log
        ${CCACHE} ${HOLDFAST_NVCC} -c -std=c++20 -O3 -ccbin g++ -fmad=false --expt-relaxed-constexpr -lineinfo ${code}
        -Xptxas=-v,-warn-spills -Xcompiler=-Wall,-Wextra,-fno-omit-frame-pointer
        -I${CMAKE_SOURCE_DIR}/src -MD -MF ${object}.d -o ${object} ${source}
      DEPENDS ${source} ${CMAKE_SOURCE_DIR}/cmake/compile_kernel
      DEPFILE ${object}.d COMMENT "nvcc ${stem}.cu" VERBATIM)
    target_sources(${target} PRIVATE ${object})
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  endforeach()
endfunction()
