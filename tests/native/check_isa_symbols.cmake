# Fail when OBJECTS define a function that another instruction set's object could define too.
execute_process(COMMAND "${NM}" --defined-only --extern-only --demangle ${OBJECTS} OUTPUT_VARIABLE _symbols
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[0-9a-f]+ [TW] [^\n]+" _functions "${_symbols}")
foreach(_function IN LISTS _functions)
  # Clang's way to std::terminate: two calls, the same in every instruction set.
  if(NOT _function MATCHES "avx2|__clang_call_terminate")
    message(SEND_ERROR "shared with other instruction sets: ${_function}")
  endif()
endforeach()
list(LENGTH _functions _count)
if(_count EQUAL 0)
  message(SEND_ERROR "no functions found in ${OBJECTS}")
endif()
message(STATUS "${_count} functions, all in the avx2 namespace")
