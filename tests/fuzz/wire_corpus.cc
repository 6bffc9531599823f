// Writes the seeds of wire_fuzz: one file per sample message, and one stream of frames.
//
// Use      wire_corpus DIRECTORY    (tests/fuzz/corpus/wire; again when a message has changed)
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/unit/transport/sample_messages.h"
#include "transport/shm/frame.h"
#include "transport/wire/codec.h"

namespace {

using namespace cistern::transport;  // NOLINT(google-build-using-namespace): a program of one page

constexpr size_t kMaxSeedBytes = 4096;

bool Write(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  return file.good();
}

std::string Frame(const std::string& body) {
  const FrameHeader header{.length = static_cast<uint32_t>(body.size())};
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + body;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "use: wire_corpus DIRECTORY\n");
    return 2;
  }
  const std::string directory = argv[1];
  bool good = true;
  std::string stream;
  int index = 0;
  for (const Request& request : SampleRequests()) {
    const std::string message =
        EncodeRequest({.call_id = 1, .deadline = absl::Seconds(5)}, request);
    if (message.size() > kMaxSeedBytes) continue;
    good &= Write(directory + "/request_" + std::to_string(index++), message);
    stream += Frame(message);
  }
  index = 0;
  for (const Reply& reply : SampleReplies()) {
    good &= Write(directory + "/reply_" + std::to_string(index++), EncodeReply({1, 0}, reply));
  }
  good &= Write(directory + "/stream", stream);
  return good ? 0 : 1;
}
