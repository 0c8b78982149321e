// native_tests [NAME...]: run the named tests, or all.
#include <algorithm>

#include "check.h"

int main(int argc, char** argv) {
  const std::vector<std::string> wanted(argv + 1, argv + argc);
  int run = 0, failed = 0;
  for (const check::Test& test : check::tests()) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), test.name) == wanted.end()) continue;
    check::failures() = 0;
    test.body();
    ++run;
    if (check::failures() == 0) continue;
    ++failed;
    std::printf("FAILED %s (%d checks)\n", test.name.c_str(), check::failures());
  }
  std::printf("%d native tests run, %d failed\n", run, failed);
  return run == 0 || failed > 0;
}
