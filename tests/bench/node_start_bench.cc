// How long a node with many objects on disk takes until it answers, and until it has all of them.
//
//   node_start_bench [DIRECTORY] [objects] [rounds]
//
// Makes that many segments of 128 tokens through the disk tier (2 KiB of payload each; 5 GB for a
// million), once; closing it flushes nothing, so that every start replays a log, as after a kill.
// Then, round by round: a node of 64 MiB of memory is started and asked over its socket. `door`:
// until the first look-up is answered. `loaded`: until all of the index is there. `look-up`: round
// trips of one key meanwhile, beside those afterwards. Medians.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"

#include "cacheserver/node.h"
#include "nlohmann/json.hpp"
#include "storage/tier/disk_tier.h"
#include "tests/unit/storage/disk_fixture.h"
#include "transport/link.h"

namespace cistern::cacheserver {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kBatch = 8192;  // objects of a commit

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "node_start_bench: %s\n", why.c_str());
  std::exit(1);
}
void Must(const absl::Status& status) {
  if (!status.ok()) Die(status.ToString());
}
double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

// 128 tokens x 16 bytes.
base::ModelSpec Model() {
  base::ModelSpec spec;
  spec.name = "bench";
  spec.num_layers = 1;
  spec.layout = base::RowLayout::kOpaque;
  spec.row_bytes = 16;
  return spec;
}

storage::TestObject Object(uint64_t number) {
  static const base::Key model = Model().Fingerprint();
  storage::TestObject object = storage::Segment(number, 128 * 16);
  object.header.model = model;
  object.header.content = base::HashBytes(absl::StrCat("content ", number));
  object.header.context = base::HashBytes(absl::StrCat("context ", number));
  object.header.parent_context = base::HashBytes(absl::StrCat("past ", number));
  return object;
}

void Fill(const std::string& path, uint64_t objects) {
  auto tier = storage::DiskTier::Open({.path = path});
  Must(tier.status());
  Must((*tier)->PutModel(Model()));
  for (uint64_t begin = 0; begin < objects; begin += kBatch) {
    std::vector<storage::TestObject> batch;
    std::vector<storage::Tier::Item> items;
    for (uint64_t i = begin; i < std::min(objects, begin + kBatch); ++i) batch.push_back(Object(i));
    items.reserve(batch.size());
    for (const storage::TestObject& object : batch) items.push_back(object.Item());
    for (const absl::Status& status : (*tier)->Write(items)) Must(status);
  }
}

struct Round {
  double door_s = 0, loaded_s = 0;
  std::vector<double> loading_us, after_us;  // of look-ups
};

void LookUp(transport::Link& link, uint64_t number, std::vector<double>* took_us) {
  const storage::TestObject object = Object(number);
  transport::FindRequest request;
  request.model = object.header.model;
  request.lease = false;
  request.items = {{object.header.content, object.header.context, false}};
  const auto begin = Clock::now();
  Must(transport::CallFor<transport::FindReply>(link, request, {}).status());
  took_us->push_back(SecondsSince(begin) * 1e6);
}

nlohmann::json Status(transport::Link& link) {
  transport::AdminRequest request;
  request.verb = transport::AdminVerb::kStatus;
  const auto reply = transport::CallFor<transport::AdminReply>(link, request, {});
  Must(reply.status());
  return nlohmann::json::parse(reply->json);
}

Round Start(const std::string& directory, uint64_t objects) {
  NodeConfig config;
  config.unix_socket = directory + "/node.sock";
  config.pool_bytes = 64 << 20;
  config.disk_path = directory + "/tier";
  Log log("warning", LogFormat::kText);
  Round round;
  const auto begin = Clock::now();
  auto node = Node::Start(config, &log, base::Clock::Real());
  Must(node.status());
  auto link = transport::Connect("unix:" + config.unix_socket, {});
  Must(link.status());
  LookUp(**link, 0, &round.loading_us);
  round.door_s = SecondsSince(begin);
  for (uint64_t number = 1; round.loaded_s == 0; ++number) {
    LookUp(**link, number % objects, &round.loading_us);
    if (number % 64 == 0 && Status(**link).at("disk").at("loading").is_null())
      round.loaded_s = SecondsSince(begin);
    std::this_thread::sleep_for(std::chrono::microseconds(200));  // both cores are the node's
  }
  const uint64_t found = Status(**link).at("disk").at("objects").get<uint64_t>();
  if (found != objects) Die(absl::StrCat(found, " of ", objects, " objects were loaded"));
  for (uint64_t number = 0; number < 2000; ++number) {
    LookUp(**link, number % objects, &round.after_us);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return round;
}

int Main(int argc, char** argv) {
  const std::string parent = argc > 1 ? argv[1] : "/tmp";
  const uint64_t objects = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1'000'000;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 5;
  if (objects == 0 || rounds < 1) Die("use: node_start_bench [DIRECTORY] [objects] [rounds]");
  storage::ScratchDirectory directory(parent);
  const auto begin = Clock::now();
  Fill(directory.path() + "/tier", objects);
  std::printf("%llu objects written in %.1f s\n", static_cast<unsigned long long>(objects),
              SecondsSince(begin));
  std::vector<double> door, loaded, loading_p50, loading_p99, after_p50, after_p99;
  for (int i = 0; i < rounds; ++i) {
    const Round round = Start(directory.path(), objects);
    std::printf("round %d: door %.3f s, loaded %.2f s\n", i + 1, round.door_s, round.loaded_s);
    std::fflush(stdout);
    door.push_back(round.door_s);
    loaded.push_back(round.loaded_s);
    loading_p50.push_back(Quantile(round.loading_us, 0.5));
    loading_p99.push_back(Quantile(round.loading_us, 0.99));
    after_p50.push_back(Quantile(round.after_us, 0.5));
    after_p99.push_back(Quantile(round.after_us, 0.99));
  }
  std::printf(
      "door %.3f s   loaded %.2f s   look-up of one key while loading: p50 %.0f us, p99 %.0f us; "
      "afterwards: p50 %.0f us, p99 %.0f us\n",
      Quantile(door, 0.5), Quantile(loaded, 0.5), Quantile(loading_p50, 0.5),
      Quantile(loading_p99, 0.5), Quantile(after_p50, 0.5), Quantile(after_p99, 0.5));
  return 0;
}

}  // namespace
}  // namespace cistern::cacheserver

int main(int argc, char** argv) { return cistern::cacheserver::Main(argc, argv); }
