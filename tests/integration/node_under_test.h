// A cistern-server process in a scratch directory, the cistern tool, and a worker that speaks to
// the node by plain calls.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/key.h"
#include "base/model_spec.h"
#include "base/object.h"
#include "nlohmann/json.hpp"
#include "transport/link.h"

namespace cistern::cacheserver {

// A directory of its own, removed at the end.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  std::string Path(const std::string& name) const { return (directory_ / name).string(); }

 private:
  std::filesystem::path directory_;
};

struct Finished {
  int exit_code = -1;
  int signal = 0;
  std::string out;  // standard output
  std::string err;
};

// A process with its output in files. Killed and reaped at the end, if it still runs.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, const std::string& output);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  Finished Wait();  // fails the test, and kills the process, when it does not end in 60 s
  bool Running();
  std::string Out() const;
  std::string Err() const;

 private:
  bool Reap();

  pid_t pid_ = -1;
  int status_ = 0;
  bool reaped_ = false;
  const std::string output_;
};

// Polls until `condition` holds; fails the test after a minute.
void Await(const std::string& what, const std::function<bool()>& condition);

// A server and its directory, which outlives restarts.
class NodeUnderTest {
 public:
  // `flags` on top of --unix_socket, --pool_bytes=64MiB and --nopre_touch.
  explicit NodeUnderTest(std::vector<std::string> flags);

  void Start();  // waits until it answers, and has loaded what is on disk
  void Restart(const std::vector<std::string>& flags);
  Finished Stop(int signal);
  // Starts it and expects that it ends by itself.
  Finished StartAndFail();

  std::string socket() const { return scratch_.Path("node.sock"); }
  std::string unix_address() const { return "unix:" + socket(); }
  std::string ucx_address();  // as bound
  std::string Path(const std::string& name) const { return scratch_.Path(name); }
  Process& process() { return *process_; }

  // `cistern --address ... WORDS`
  Finished Cli(std::vector<std::string> words);
  // The same with --json, which must succeed.
  nlohmann::json CliJson(std::vector<std::string> words);
  nlohmann::json Status() { return CliJson({"status"}); }

 private:
  std::vector<std::string> Arguments() const;

  Scratch scratch_;
  std::vector<std::string> flags_;
  std::unique_ptr<Process> process_;
  int runs_ = 0;
  int clis_ = 0;
};

// 4 layers of 1 KiB opaque rows: a page of 16 tokens has 64 KiB.
base::ModelSpec TestModel();
base::ObjectHeader TestSegment(uint32_t text, uint32_t tokens = 16, const std::string& salt = "");
// All rows of a segment, in a payload's order.
std::vector<std::byte> TestRows(const base::ObjectHeader& header);

class Worker {
 public:
  explicit Worker(const std::string& address, bool want_mapping = true);
  explicit Worker(std::unique_ptr<transport::Link> link);

  transport::Link& link() { return *link_; }
  template <typename T>
  absl::StatusOr<T> Call(transport::Request request, transport::CallOptions options = {}) {
    if (options.deadline == absl::Seconds(5)) options.deadline = absl::Seconds(30);
    return transport::CallFor<T>(*link_, std::move(request), std::move(options));
  }

  absl::Status Publish(const base::ObjectHeader& header);
  absl::StatusOr<transport::ReserveResult> Reserve(const base::ObjectHeader& header);
  transport::Where WhereIs(const base::ObjectHeader& header);
  // Leases it (from disk if need be), reads it in place or by copy, compares every byte.
  absl::Status Verify(const base::ObjectHeader& header);

 private:
  void Register();
  absl::Status Write(transport::ReservationId id, const std::vector<std::byte>& rows);
  absl::Status ReadInPlace(const transport::LeaseResult& lease, const base::ObjectHeader& header);
  absl::Status ReadByCopy(const transport::LeaseResult& lease, const base::ObjectHeader& header);

  std::unique_ptr<transport::Link> link_;
};

}  // namespace cistern::cacheserver
