// Objects fetched from a node's disk, none of which it has in memory, beside plain reads of as many
// bytes.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/aligned_map.h"
#include "base/round.h"
#include "base/status_macros.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/node_process.h"
#include "tools/bench/transfer/compare.h"
#include "tools/bench/transfer/transfer_run.h"

namespace cistern::tools {
namespace {

constexpr uint64_t kBlock = 4096;  // what direct I/O wants
constexpr uint64_t kDiskRoundBytes = 8ull << 20;
constexpr uint64_t kMaxDiskOperations = 16;

uint32_t DiskOperationsFor(uint64_t bytes) {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(kDiskRoundBytes / bytes, 1, kMaxDiskOperations));
}

uint64_t SeedOf(size_t shape, uint32_t round, uint32_t i) {
  return (uint64_t{shape} << 48) + (uint64_t{round} << 32) + i + 1;
}

// A file that was just written, read past the page cache: into huge pages, since into small ones a
// disk may deliver half as much (storage/tier/aligned_buffer.h), and each operation of a round into
// memory of its own, since memory that is in the caches of who copies takes more, too.
class ColdFile {
 public:
  // Operations of `each` bytes; `count` of them one after another have memory of their own.
  static absl::StatusOr<std::unique_ptr<ColdFile>> Write(const std::string& path, uint64_t bytes,
                                                         uint64_t each, uint32_t count) {
    const int out = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
    const std::vector<std::byte> piece(1 << 20, std::byte{0x3c});
    bool good = true;
    for (uint64_t at = 0; good && at < bytes; at += piece.size())
      good = write(out, piece.data(), piece.size()) == static_cast<ssize_t>(piece.size());
    good = good && fsync(out) == 0;
    close(out);
    if (!good) return absl::FailedPreconditionError(absl::StrCat("no room for ", path));
    const int in = open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (in >= 0) return std::unique_ptr<ColdFile>(new ColdFile(in, bytes, each, count));
    return absl::FailedPreconditionError(absl::StrCat("direct reads are not possible at ", path,
                                                      ": set TMPDIR to a folder on a disk"));
  }
  ~ColdFile() { close(fd_); }

  // As operation `i`, the next bytes, up to the end of a block; each byte of the file once, as
  // objects are.
  absl::Status Read(uint32_t i) {
    if (at_ + each_ > bytes_) at_ = 0;
    std::byte* const into = memory_.data() + i * each_;
    for (uint64_t done = 0; done < each_;) {
      const ssize_t got = pread(fd_, into + done, each_ - done, static_cast<off_t>(at_ + done));
      if (got <= 0) return absl::UnavailableError("a plain read of a file failed");
      done += static_cast<uint64_t>(got);
    }
    at_ += each_;
    return absl::OkStatus();
  }

 private:
  ColdFile(int fd, uint64_t bytes, uint64_t each, uint32_t count)
      : fd_(fd),
        bytes_(bytes),
        each_(base::RoundUp(each, kBlock)),
        memory_(base::RoundUp(count * each_, base::kHugePageBytes)) {}

  const int fd_;
  const uint64_t bytes_, each_;
  Memory memory_;
  uint64_t at_ = 0;
};

// Everything is published, written to disk, and forgotten by a restart.
class DiskBench {
 public:
  DiskBench(const TransferOptions& options, CacheSweep& sweep) : options_(options), sweep_(sweep) {}

  absl::Status Start() {
    CISTERN_ASSIGN_OR_RETURN(scratch_, ScratchDirectory::Make());
    uint64_t bytes = 0;
    for (const TransferShape& shape : options_.shapes)
      bytes += DiskOperationsFor(shape.bytes()) * shape.bytes() * (options_.rounds + 1);
    const NodeProcessOptions process{
        .binary = options_.server,
        .directory = scratch_->path(),
        .pool_bytes = bytes + bytes / 2 + (256ull << 20) + options_.shapes.size() * (64ull << 20),
        .disk = true};
    CISTERN_ASSIGN_OR_RETURN(node_, NodeProcess::Start(process));
    CISTERN_ASSIGN_OR_RETURN(client_, Client::Connect({.address = node_->address()}));
    for (size_t s = 0; s < options_.shapes.size(); ++s) CISTERN_RETURN_IF_ERROR(Publish(s));
    CISTERN_RETURN_IF_ERROR(Flush());
    client_.reset();
    node_.reset();
    CISTERN_ASSIGN_OR_RETURN(node_, NodeProcess::Start(process));
    CISTERN_ASSIGN_OR_RETURN(client_, Client::Connect({.address = node_->address()}));
    return absl::OkStatus();
  }

  absl::StatusOr<TransferLine> Measure(size_t s) {
    const TransferShape& shape = options_.shapes[s];
    Comparison what{.bytes = shape.bytes(),
                    .operations = DiskOperationsFor(shape.bytes()),
                    .rounds = options_.rounds};
    PagedObjects into(shape.model, shape.tokens, what.operations);
    std::vector<Plan> plans(what.operations);
    const uint64_t all =
        uint64_t{what.operations} * (what.rounds + 1) * base::RoundUp(what.bytes, kBlock);
    CISTERN_ASSIGN_OR_RETURN(
        const std::unique_ptr<ColdFile> file,
        ColdFile::Write(scratch_->path() + "/plain", all, what.bytes, what.operations));
    uint32_t round = 0;
    what.prepare = [&]() -> absl::Status {
      into.Wipe();
      for (uint32_t i = 0; i < what.operations; ++i) {
        into.Draw(i, SeedOf(s, round, i));
        CISTERN_ASSIGN_OR_RETURN(plans[i], PlanAll(*client_, shape.model, into.tokens(i)));
      }
      ++round;
      return absl::OkStatus();
    };
    what.path = [&](uint32_t i) -> absl::Status {
      CISTERN_ASSIGN_OR_RETURN(const FetchResult result,
                               FetchAll(*client_, std::move(plans[i]), into.Cache(i)));
      if (result.bytes_disk == what.bytes) return absl::OkStatus();
      return absl::InternalError(
          absl::StrCat("of ", what.bytes, " bytes ", result.bytes_disk, " came from disk"));
    };
    what.limit = [&](uint32_t i) { return file->Read(i); };
    what.check = [&] { return CheckAll(into, shape, options_.flip_a_byte); };
    CISTERN_ASSIGN_OR_RETURN(TransferLine line, Compare(what, sweep_));
    line.path = "disk";
    line.object = shape.name;
    line.limit = "O_DIRECT read";
    return line;
  }

 private:
  absl::Status Publish(size_t s) {
    const TransferShape& shape = options_.shapes[s];
    PagedObjects from(shape.model, shape.tokens, DiskOperationsFor(shape.bytes()));
    for (uint32_t round = 0; round <= options_.rounds; ++round) {
      for (uint32_t i = 0; i < from.count(); ++i) {
        from.Draw(i, SeedOf(s, round, i));
        from.Compute(i);
        CISTERN_RETURN_IF_ERROR(PublishAll(*client_, from, i, from.Source(i)));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Flush() {
    CISTERN_ASSIGN_OR_RETURN(const std::unique_ptr<transport::Link> link,
                             transport::Connect(node_->address(), {}));
    transport::AdminRequest request;
    request.verb = transport::AdminVerb::kFlush;
    return transport::CallFor<transport::AdminReply>(*link, std::move(request),
                                                     {.deadline = absl::Seconds(120)})
        .status();
  }

  const TransferOptions& options_;
  CacheSweep& sweep_;
  std::unique_ptr<ScratchDirectory> scratch_;
  std::unique_ptr<NodeProcess> node_;
  std::unique_ptr<Client> client_;
};

}  // namespace

absl::Status MeasureDisk(const TransferOptions& options, CacheSweep& sweep, const EmitLine& emit) {
  DiskBench bench(options, sweep);
  CISTERN_RETURN_IF_ERROR(bench.Start());
  for (size_t s = 0; s < options.shapes.size(); ++s) {
    CISTERN_ASSIGN_OR_RETURN(const TransferLine line, bench.Measure(s));
    emit(line);
  }
  return absl::OkStatus();
}

}  // namespace cistern::tools
