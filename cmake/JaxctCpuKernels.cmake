# jaxct_cpu_kernels: the CPU loops, compiled once per instruction set and chosen among at run time.
include(CheckCXXCompilerFlag)

# The flags that allow AVX2, FMA and BMI on this compiler, or nothing where there is no such build.
function(jaxct_find_avx2_flags result)
  set(${result} "" PARENT_SCOPE)
  set(_cpu "${CMAKE_SYSTEM_PROCESSOR}")
  if(CMAKE_OSX_ARCHITECTURES)
    set(_cpu "${CMAKE_OSX_ARCHITECTURES}")
  endif()
  if(NOT _cpu MATCHES "^(x86_64|AMD64|amd64)$")
    return()
  endif()
  check_cxx_compiler_flag(-mavx2 JAXCT_ACCEPTS_AVX2)
  if(JAXCT_ACCEPTS_AVX2)
    set(${result} -mavx2 PARENT_SCOPE)
  else() # GCC before 11, Clang before 12
    set(${result} -mavx2 -mfma -mf16c -mbmi -mbmi2 -mlzcnt -mmovbe PARENT_SCOPE)
  endif()
endfunction()

add_library(jaxct_cpu_kernels STATIC xla_ffi/cpu/plane_runs.cc)
target_link_libraries(jaxct_cpu_kernels PRIVATE jaxct_native_flags)

function(jaxct_add_kernels isa)
  add_library(jaxct_kernels_${isa} OBJECT xla_ffi/cpu/kernels.cc xla_ffi/cpu/lor_kernels.cc)
  target_compile_definitions(jaxct_kernels_${isa} PRIVATE JAXCT_ISA=${isa})
  target_compile_options(jaxct_kernels_${isa} PRIVATE ${ARGN})
  target_link_libraries(jaxct_kernels_${isa} PRIVATE jaxct_native_flags)
  target_sources(jaxct_cpu_kernels PRIVATE $<TARGET_OBJECTS:jaxct_kernels_${isa}>)
endfunction()

jaxct_add_kernels(baseline)
jaxct_find_avx2_flags(JAXCT_AVX2_FLAGS)
if(JAXCT_AVX2_FLAGS)
  jaxct_add_kernels(avx2 ${JAXCT_AVX2_FLAGS})
  target_compile_definitions(jaxct_cpu_kernels INTERFACE JAXCT_HAVE_AVX2=1)
endif()
