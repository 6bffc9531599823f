#include "tests/integration/node_under_test.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "base/status_macros.h"
#include "transport/checksum.h"

extern char** environ;

namespace cistern::cacheserver {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

std::string ReadAll(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

Scratch::Scratch() {
  std::string directory = std::filesystem::temp_directory_path() / "cistern-node-XXXXXX";
  directory_ = mkdtemp(directory.data());
}
Scratch::~Scratch() { std::filesystem::remove_all(directory_); }

void Await(const std::string& what, const std::function<bool()>& condition) {
  const absl::Time give_up = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > give_up) {
      ADD_FAILURE() << "waited in vain for: " << what;
      return;
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
}

Process::Process(const std::vector<std::string>& arguments, const std::string& output)
    : output_(output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const int flags = O_WRONLY | O_CREAT | O_TRUNC;
  posix_spawn_file_actions_addopen(&actions, 1, (output + ".out").c_str(), flags, 0644);
  posix_spawn_file_actions_addopen(&actions, 2, (output + ".err").c_str(), flags, 0644);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0)
      << arguments[0];
  posix_spawn_file_actions_destroy(&actions);
}

Process::~Process() {
  if (Reap()) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::Signal(int signal) { kill(pid_, signal); }

bool Process::Reap() {
  if (!reaped_) reaped_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return reaped_;
}

bool Process::Running() { return !Reap(); }
std::string Process::Out() const { return ReadAll(output_ + ".out"); }
std::string Process::Err() const { return ReadAll(output_ + ".err"); }

Finished Process::Wait() {
  Await("the end of a process", [this] { return Reap(); });
  if (!reaped_) return {};
  return {.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : -1,
          .signal = WIFSIGNALED(status_) ? WTERMSIG(status_) : 0,
          .out = Out(),
          .err = Err()};
}

NodeUnderTest::NodeUnderTest(std::vector<std::string> flags) : flags_(std::move(flags)) {}

std::vector<std::string> NodeUnderTest::Arguments() const {
  std::vector<std::string> arguments = {CISTERN_SERVER, "--unix_socket=" + socket(),
                                        "--pool_bytes=64MiB", "--nopre_touch"};
  for (std::string flag : flags_) {
    const size_t at = flag.find("SCRATCH");
    if (at != std::string::npos) flag.replace(at, 7, scratch_.Path(""));
    arguments.push_back(flag);
  }
  return arguments;
}

void NodeUnderTest::Start() {
  process_ = std::make_unique<Process>(Arguments(), Path(absl::StrCat("server", ++runs_)));
  Await("the node's first answer",
        [this] { return !process_->Running() || transport::Connect(unix_address(), {}).ok(); });
  ASSERT_TRUE(process_->Running()) << process_->Err();
  const bool has_disk = std::any_of(flags_.begin(), flags_.end(), [](const std::string& flag) {
    return absl::StartsWith(flag, "--disk_path=");
  });
  if (has_disk)
    Await("what is on disk", [this] { return Status().at("disk").at("loading").is_null(); });
}

void NodeUnderTest::Restart(const std::vector<std::string>& flags) {
  flags_ = flags;
  Start();
}

Finished NodeUnderTest::Stop(int signal) {
  process_->Signal(signal);
  return process_->Wait();
}

Finished NodeUnderTest::StartAndFail() {
  process_ = std::make_unique<Process>(Arguments(), Path(absl::StrCat("server", ++runs_)));
  return process_->Wait();
}

std::string NodeUnderTest::ucx_address() { return Status().at("node").at("ucx_address"); }

Finished NodeUnderTest::Cli(std::vector<std::string> words) {
  words.insert(words.begin(), {CISTERN_CLI, "--address", unix_address()});
  Process cli(words, Path(absl::StrCat("cli", ++clis_)));
  return cli.Wait();
}

nlohmann::json NodeUnderTest::CliJson(std::vector<std::string> words) {
  words.push_back("--json");
  const Finished cli = Cli(words);
  EXPECT_EQ(cli.exit_code, 0) << cli.err;
  return nlohmann::json::parse(cli.out, nullptr, /*allow_exceptions=*/false);
}

base::ModelSpec TestModel() {
  base::ModelSpec spec;
  spec.name = "test/model";
  spec.num_layers = 4;
  spec.layout = base::RowLayout::kOpaque;
  spec.row_bytes = 1024;
  return spec;
}

base::ObjectHeader TestSegment(uint32_t text, uint32_t tokens, const std::string& salt) {
  const base::Key model = TestModel().Fingerprint();
  const base::KeySpace keys(model, salt);
  base::ObjectHeader header;
  header.tenant = keys.tenant();
  header.model = model;
  for (uint32_t i = 0; i < tokens; ++i) header.tokens.push_back(text * 10000 + i);
  header.content = keys.Content(header.tokens);
  header.parent_context = keys.ContextSeed();
  header.context = base::KeySpace::Context(header.parent_context, header.content);
  return header;
}

std::vector<std::byte> TestRows(const base::ObjectHeader& header) {
  const base::ModelSpec spec = TestModel();
  std::vector<std::byte> rows;
  rows.reserve(header.num_tokens() * spec.token_bytes());
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (const base::TokenId token : header.tokens) {
      const auto first = static_cast<uint8_t>(token * 29 + layer * 101);
      for (uint32_t i = 0; i < spec.row_bytes; ++i)
        rows.push_back(static_cast<std::byte>(first + i * 3));
    }
  }
  return rows;
}

Worker::Worker(const std::string& address, bool want_mapping) {
  auto link = transport::Connect(address, {.client_name = "worker", .want_mapping = want_mapping});
  EXPECT_TRUE(link.ok()) << link.status();
  if (!link.ok()) return;
  link_ = *std::move(link);
  Register();
}

Worker::Worker(std::unique_ptr<transport::Link> link) : link_(std::move(link)) { Register(); }

void Worker::Register() {
  const auto model =
      Call<transport::RegisterModelReply>(transport::RegisterModelRequest{TestModel().ToJson()});
  EXPECT_TRUE(model.ok()) << model.status();
}

absl::StatusOr<transport::ReserveResult> Worker::Reserve(const base::ObjectHeader& header) {
  CISTERN_ASSIGN_OR_RETURN(auto reply,
                           Call<transport::ReserveReply>(transport::ReserveRequest{{header}}));
  if (reply.results.size() != 1) return absl::InternalError("not one result");
  return reply.results[0];
}

absl::Status Worker::Write(transport::ReservationId id, const std::vector<std::byte>& rows) {
  CISTERN_ASSIGN_OR_RETURN(auto buffer, link_->Allocate(rows.size()));
  std::memcpy(buffer->bytes().data(), rows.data(), rows.size());
  const std::vector<transport::Slice> payload = {buffer->bytes().first(rows.size())};
  const transport::WriteRequest request{
      {id}, 0, TestModel().num_layers, transport::PayloadChecksum(payload)};
  return Call<transport::WriteReply>(request, {.send = payload}).status();
}

absl::Status Worker::Publish(const base::ObjectHeader& header) {
  CISTERN_ASSIGN_OR_RETURN(const transport::ReserveResult reserved, Reserve(header));
  if (reserved.outcome != transport::ReserveOutcome::kReserved)
    return absl::ResourceExhaustedError(absl::StrCat("outcome ", int(reserved.outcome)));
  CISTERN_RETURN_IF_ERROR(Write(reserved.reservation, TestRows(header)));
  return Call<transport::CommitReply>(transport::CommitRequest{{reserved.reservation}}).status();
}

transport::Where Worker::WhereIs(const base::ObjectHeader& header) {
  transport::FindRequest request;
  request.model = header.model;
  request.lease = false;
  request.items = {{header.content, header.context, false}};
  const auto reply = Call<transport::FindReply>(request);
  EXPECT_TRUE(reply.ok()) << reply.status();
  return reply.ok() ? reply->results.at(0).where : transport::Where::kMiss;
}

absl::Status Worker::Verify(const base::ObjectHeader& header) {
  transport::FindRequest find;
  find.model = header.model;
  find.lease = false;
  find.items = {{header.content, header.context, false}};
  CISTERN_ASSIGN_OR_RETURN(const auto found, Call<transport::FindReply>(find));
  if (found.objects.size() != 1) return absl::NotFoundError("not stored");
  if (found.HeaderOf(found.objects[0]) != header) return absl::DataLossError("another header");
  CISTERN_ASSIGN_OR_RETURN(const auto leased, Call<transport::LeaseReply>(
                                                  transport::LeaseRequest{{found.objects[0].id}}));
  const transport::LeaseResult& lease = leased.results.at(0);
  if (lease.outcome != transport::LeaseOutcome::kLeased)
    return absl::NotFoundError(absl::StrCat("lease outcome ", int(lease.outcome)));
  CISTERN_RETURN_IF_ERROR(link_->arena() != nullptr ? ReadInPlace(lease, header)
                                                    : ReadByCopy(lease, header));
  return Call<transport::ReleaseReply>(transport::ReleaseRequest{{lease.lease}}).status();
}

absl::Status Worker::ReadInPlace(const transport::LeaseResult& lease,
                                 const base::ObjectHeader& header) {
  const base::ModelSpec spec = TestModel();
  const std::vector<std::byte> rows = TestRows(header);
  size_t at = 0;
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t token = 0; token < header.num_tokens(); ++token, at += spec.row_bytes) {
      const base::BlockRef& block = lease.blocks.at(token / 16);
      if (base::ReadGeneration(link_->arena(), block.handle) != block.generation)
        return absl::DataLossError("a leased block has another generation");
      const std::byte* row =
          link_->arena() + block.offset + (layer * 16 + token % 16) * spec.row_bytes;
      if (std::memcmp(row, rows.data() + at, spec.row_bytes) != 0)
        return absl::DataLossError(absl::StrCat("layer ", layer, ", token ", token));
    }
  }
  return absl::OkStatus();
}

absl::Status Worker::ReadByCopy(const transport::LeaseResult& lease,
                                const base::ObjectHeader& header) {
  const std::vector<std::byte> rows = TestRows(header);
  CISTERN_ASSIGN_OR_RETURN(auto buffer, link_->Allocate(rows.size()));
  const transport::ReadRequest request{{lease.lease}, 0, TestModel().num_layers};
  CISTERN_RETURN_IF_ERROR(
      Call<transport::ReadReply>(request, {.receive = {buffer->bytes().first(rows.size())}})
          .status());
  if (std::memcmp(buffer->bytes().data(), rows.data(), rows.size()) != 0)
    return absl::DataLossError("other bytes");
  return absl::OkStatus();
}

}  // namespace cistern::cacheserver
