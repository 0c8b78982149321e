# Decide whether the CUDA module is built (JAXCT_BUILD_CUDA) and for which architectures; jaxct_cuda_kernels: the kernels,
# a file a model,
# and one for its derivatives by the geometry.

# Machine code for the generations that this nvcc knows (Ampere and Ada; Hopper; Blackwell for data centres and for desks),
# and PTX from Hopper on, so that later GPUs run too.
function(jaxct_cuda_architectures result)
  execute_process(COMMAND "${CMAKE_CUDA_COMPILER}" --list-gpu-code OUTPUT_VARIABLE _known)
  set(_architectures "")
  foreach(_arch 80 90 100 120)
    if(_known MATCHES "sm_${_arch}([^0-9]|$)")
      list(APPEND _architectures ${_arch}-real)
      if(_arch GREATER_EQUAL 90)
        list(APPEND _architectures ${_arch}-virtual)
      endif()
    endif()
  endforeach()
  set(${result} ${_architectures} PARENT_SCOPE)
endfunction()

set(JAXCT_BUILD_CUDA OFF)
if(NOT JAXCT_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "JAXCT_CUDA must be AUTO, ON or OFF, got '${JAXCT_CUDA}'")
endif()
if(NOT JAXCT_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      jaxct_cuda_architectures(CMAKE_CUDA_ARCHITECTURES)
    endif()
    enable_language(CUDA)
    find_package(CUDAToolkit)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    if(TARGET CUDA::cudart_static)
      set(JAXCT_BUILD_CUDA ON)
    endif()
  endif()
  if(JAXCT_CUDA STREQUAL "ON" AND NOT JAXCT_BUILD_CUDA)
    message(FATAL_ERROR "JAXCT_CUDA=ON, but no working nvcc with a static cudart was found: put nvcc on PATH or set "
                        "CUDACXX")
  endif()
endif()

if(JAXCT_BUILD_CUDA)
  # "sm_90", "compute_90", ... as C strings, from 90-real, 90-virtual or 90 (both).
  set(JAXCT_CUDA_TARGETS "")
  foreach(_arch IN LISTS CMAKE_CUDA_ARCHITECTURES)
    string(REGEX REPLACE "-(real|virtual)$" "" _number "${_arch}")
    if(NOT _arch MATCHES "-virtual$")
      list(APPEND JAXCT_CUDA_TARGETS "\"sm_${_number}\"")
    endif()
    if(NOT _arch MATCHES "-real$")
      list(APPEND JAXCT_CUDA_TARGETS "\"compute_${_number}\"")
    endif()
  endforeach()
  list(JOIN JAXCT_CUDA_TARGETS "," JAXCT_CUDA_TARGETS)

  add_library(jaxct_cuda_kernels STATIC)
  foreach(_file joseph siddon separable_footprint distance_driven voxel_driven joseph_derivatives
                separable_footprint_derivatives lors_joseph lors_siddon lors_distance_driven lors_joseph_derivatives
                lors_distance_driven_derivatives)
    target_sources(jaxct_cuda_kernels PRIVATE "${PROJECT_SOURCE_DIR}/xla_ffi/cuda/${_file}.cu")
  endforeach()
  set_target_properties(jaxct_cuda_kernels PROPERTIES CUDA_VISIBILITY_PRESET hidden)
  target_include_directories(jaxct_cuda_kernels PRIVATE "${PROJECT_SOURCE_DIR}/xla_ffi")
  # No contraction: forward and back must get the same bits of a formula, in kernels that the compiler sees apart.
  target_compile_options(jaxct_cuda_kernels PRIVATE --fmad=false
                                                    $<$<BOOL:${JAXCT_WERROR}>:--Werror=all-warnings>)
endif()
message(STATUS "jaxct: CUDA module ${JAXCT_BUILD_CUDA} ${CMAKE_CUDA_ARCHITECTURES}")
