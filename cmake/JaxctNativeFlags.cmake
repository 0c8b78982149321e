# jaxct_native_flags: include roots, optimisation, warnings and sanitizers for every C++ file of our own.

find_package(Threads REQUIRED)
add_library(jaxct_native_flags INTERFACE)
target_include_directories(jaxct_native_flags INTERFACE "${PROJECT_SOURCE_DIR}/xla_ffi")
target_include_directories(jaxct_native_flags SYSTEM INTERFACE "${JAXCT_XLA_INCLUDE_DIR}")
target_link_libraries(jaxct_native_flags INTERFACE Threads::Threads)

if(NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang" OR MSVC)
  message(FATAL_ERROR "jaxct's loops use the vector types of GCC and Clang; got ${CMAKE_CXX_COMPILER_ID}.")
endif()

# Most of what -ffast-math gives, without its licence to break NaN and infinity. No contraction: a multiply-add fused
# in one instruction set and not in another would make results depend on the machine.
set(_flags -fno-math-errno -fno-trapping-math -ffp-contract=off)
# Not -Wpedantic: under it GCC rejects XLA's C header even as a system header.
list(APPEND _flags -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wdouble-promotion -Wcast-qual
     -Wnon-virtual-dtor -Woverloaded-virtual -Wundef $<$<BOOL:${JAXCT_WERROR}>:-Werror>)

if(JAXCT_SANITIZE)
  set(_sanitize "-fsanitize=${JAXCT_SANITIZE}" -fno-sanitize-recover=all)
  # More optimisation would take many minutes, for checks that then run no better.
  list(APPEND _flags ${_sanitize} -fno-omit-frame-pointer -g -O1)
  target_link_options(jaxct_native_flags INTERFACE ${_sanitize})
endif()

target_compile_options(jaxct_native_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${_flags}>")
