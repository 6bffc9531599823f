// A child process with its stdin and stdout as pipes. Killed and reaped when it goes out of scope.
#pragma once

#include <string>
#include <vector>

#include <signal.h>
#include <sys/types.h>

namespace cistern::transport {

class TestProcess {
 public:
  explicit TestProcess(const std::vector<std::string>& argv);
  ~TestProcess();
  TestProcess(const TestProcess&) = delete;
  TestProcess& operator=(const TestProcess&) = delete;

  // Its next line of output, without the newline; "" when it has ended.
  std::string ReadLine();
  // After SIGSTOP it returns when all its threads stand: on a busy machine one goes on for a while.
  void Signal(int signal);
  void KillAndReap();

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
};

}  // namespace cistern::transport
