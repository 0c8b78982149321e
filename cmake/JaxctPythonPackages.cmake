# Locate nanobind and the XLA FFI headers through the Python interpreter that will import the result.

if(NOT nanobind_ROOT)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -m nanobind --cmake_dir
    OUTPUT_STRIP_TRAILING_WHITESPACE
    OUTPUT_VARIABLE nanobind_ROOT
    RESULT_VARIABLE _status)
  if(NOT _status EQUAL 0)
    message(FATAL_ERROR "nanobind is not installed for ${Python_EXECUTABLE}: pip install nanobind")
  endif()
endif()
find_package(nanobind CONFIG REQUIRED)

# Asked of Python at every configure unless given: a cached path would outlive an upgrade of jax.
if(NOT JAXCT_XLA_INCLUDE_DIR)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import jax; print(jax.ffi.include_dir())"
    OUTPUT_STRIP_TRAILING_WHITESPACE
    OUTPUT_VARIABLE JAXCT_XLA_INCLUDE_DIR
    RESULT_VARIABLE _status)
  if(NOT _status EQUAL 0)
    message(FATAL_ERROR "jax >= 0.10 is not installed for ${Python_EXECUTABLE}: pip install jax")
  endif()
endif()
if(NOT EXISTS "${JAXCT_XLA_INCLUDE_DIR}/xla/ffi/api/ffi.h")
  message(FATAL_ERROR "no xla/ffi/api/ffi.h under '${JAXCT_XLA_INCLUDE_DIR}'; set JAXCT_XLA_INCLUDE_DIR")
endif()
