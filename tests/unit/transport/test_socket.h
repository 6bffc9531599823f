// A path for a unix socket in a directory of its own, removed at the end.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace cistern::transport {

class SocketPath {
 public:
  SocketPath() {
    std::string directory = std::filesystem::temp_directory_path() / "cistern-test-XXXXXX";
    directory_ = mkdtemp(directory.data());
  }
  ~SocketPath() { std::filesystem::remove_all(directory_); }
  SocketPath(const SocketPath&) = delete;
  SocketPath& operator=(const SocketPath&) = delete;

  std::string path() const { return directory_ + "/node.sock"; }
  std::string directory() const { return directory_; }

 private:
  std::string directory_;
};

}  // namespace cistern::transport
