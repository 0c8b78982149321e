#pragma once
// A test framework in one page: TEST(name) { CHECK(...); CHECK_NEAR(...); }, run all or those whose name is given.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace check {

struct Test {
  std::string name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

inline bool add(const char* name, void (*body)()) {
  tests().push_back({name, body});
  return true;
}

inline void fail(const char* file, int line, const std::string& what) {
  // One broken formula fails at thousands of points; the first few say enough.
  if (++failures() <= 20) std::printf("%s:%d: %s\n", file, line, what.c_str());
}

// Written so that a NaN on either side fails.
inline void near(const char* file, int line, const char* what, double got, double wanted, double tolerance) {
  if (std::abs(got - wanted) <= tolerance) return;
  char message[512];
  std::snprintf(message, sizeof message, "%s = %.9g, wanted %.9g within %.3g", what, got, wanted, tolerance);
  fail(file, line, message);
}

}  // namespace check

#define TEST(name)                                                       \
  static void test_##name();                                             \
  static const bool registered_##name = check::add(#name, &test_##name); \
  static void test_##name()

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) check::fail(__FILE__, __LINE__, "not: " #condition); \
  } while (false)

#define CHECK_NEAR(got, wanted, tolerance)                                                     \
  check::near(__FILE__, __LINE__, #got, static_cast<double>(got), static_cast<double>(wanted), \
              static_cast<double>(tolerance))
