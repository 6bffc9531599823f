// A program run by a shell, as its user runs it: what it printed and how it ended.
#pragma once

#include <cstdio>
#include <string>

#include <sys/wait.h>

namespace cistern::tools {

struct ProgramOutcome {
  int exit_code = -1;
  std::string text;  // standard output, and what `command` redirects there
};

inline ProgramOutcome RunProgram(const std::string& command) {
  ProgramOutcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe)) outcome.text.append(buffer, n);
  outcome.exit_code = WEXITSTATUS(pclose(pipe));
  return outcome;
}

}  // namespace cistern::tools
