// Leased rows read where they lie in the node's memory: one pass, then the proof that they were
// still there.
#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/arena_layout.h"
#include "base/status_macros.h"
#include "tools/bench/transfer/compare.h"
#include "tools/bench/transfer/transfer_run.h"

namespace cistern::tools {
namespace {

constexpr uint32_t kPageTokens = base::ModelSpec::kPageTokens;

// One stored object's place in its sequence, and where its rows lie while they are leased.
struct Part {
  transport::ObjectId id = 0;
  uint32_t begin = 0, tokens = 0;
  std::vector<base::BlockRef> blocks = {};
};

class InPlaceReader {
 public:
  InPlaceReader(const TransferShape& shape, PagedObjects& stored, transport::Link& link)
      : shape_(shape), stored_(stored), link_(link), parts_(stored.count()) {}

  // Which objects the sequences are made of.
  absl::Status Find(Client& client) {
    for (uint32_t i = 0; i < stored_.count(); ++i) {
      CISTERN_ASSIGN_OR_RETURN(const Plan plan, PlanAll(client, shape_.model, stored_.tokens(i)));
      parts_[i].reserve(plan.spans().size());
      for (const Span& span : plan.spans())
        parts_[i].push_back(
            {.id = span.object_id, .begin = span.begin, .tokens = span.end - span.begin});
    }
    return absl::OkStatus();
  }

  absl::Status LeaseAll() {
    for (std::vector<Part>& parts : parts_) {
      transport::LeaseRequest request;
      request.objects.reserve(parts.size());
      for (const Part& part : parts) request.objects.push_back(part.id);
      CISTERN_ASSIGN_OR_RETURN(transport::LeaseReply reply,
                               transport::CallFor<transport::LeaseReply>(link_, request));
      for (size_t p = 0; p < parts.size(); ++p) {
        if (reply.results.size() != parts.size() || reply.results[p].lease == 0)
          return absl::UnavailableError("a stored object could not be leased");
        leases_.push_back(reply.results[p].lease);
        parts[p].blocks = std::move(reply.results[p].blocks);
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReleaseAll() {
    transport::ReleaseRequest request{std::exchange(leases_, {})};
    return transport::CallFor<transport::ReleaseReply>(link_, std::move(request)).status();
  }

  absl::Status Read(uint32_t i) {
    for (const Part& part : parts_[i]) {
      for (size_t b = 0; b < part.blocks.size(); ++b) ReadBlock(part, b);
    }
    asm volatile("" : : "r"(sum_));  // the pass is made
    std::atomic_thread_fence(std::memory_order_acquire);
    for (const Part& part : parts_[i]) {
      for (const base::BlockRef& block : part.blocks) {
        if (base::ReadGeneration(link_.arena(), block.handle) != block.generation)
          return absl::UnavailableError("a leased block was given to somebody else");
      }
    }
    return absl::OkStatus();
  }

  // Every row of sequence `i`, where it lies.
  uint64_t Mismatches(uint32_t i) {
    uint64_t mismatches = 0;
    for (const Part& part : parts_[i]) {
      for (uint32_t layer = 0; layer < shape_.model.num_layers; ++layer) {
        for (uint32_t t = 0; t < part.tokens; ++t) {
          const std::byte* row = Row(part, layer, t);
          if (!stored_.IsStoredRow(i, layer, part.begin + t, row)) ++mismatches;
        }
      }
    }
    return mismatches;
  }

 private:
  const std::byte* Row(const Part& part, uint32_t layer, uint32_t token) const {
    return link_.arena() + part.blocks[token / kPageTokens].offset +
           (uint64_t{layer} * kPageTokens + token % kPageTokens) * shape_.model.row_bytes;
  }

  // A full page is one run of bytes; of one that is part full each layer is.
  void ReadBlock(const Part& part, size_t b) {
    const auto first = static_cast<uint32_t>(b) * kPageTokens;
    const uint32_t rows = std::min(kPageTokens, part.tokens - first);
    if (rows == kPageTokens) {
      sum_ += ReadOnce({Row(part, 0, first), shape_.model.page_bytes()});
      return;
    }
    for (uint32_t layer = 0; layer < shape_.model.num_layers; ++layer)
      sum_ += ReadOnce({Row(part, layer, first), uint64_t{rows} * shape_.model.row_bytes});
  }

  const TransferShape& shape_;
  PagedObjects& stored_;
  transport::Link& link_;
  std::vector<std::vector<Part>> parts_;
  std::vector<transport::LeaseId> leases_;
  uint64_t sum_ = 0;
};

}  // namespace

absl::Status MeasureInPlace(const TransferOptions& options, const TransferShape& shape,
                            PagedObjects& stored, TransferPeers& peers, CacheSweep& sweep,
                            const EmitLine& emit) {
  if (peers.raw->arena() == nullptr)
    return absl::InternalError("the node does not let its memory be mapped");
  InPlaceReader reader(shape, stored, *peers.raw);
  CISTERN_RETURN_IF_ERROR(reader.Find(*peers.local));
  Comparison what{.bytes = shape.bytes(), .operations = stored.count(), .rounds = options.rounds};
  Ring own(what.bytes * what.operations, what.bytes);
  volatile uint64_t sum = 0;
  what.prepare = [&] { return reader.LeaseAll(); };
  what.path = [&](uint32_t i) { return reader.Read(i); };
  what.limit = [&](uint32_t) {
    sum = ReadOnce(own.Next());
    return absl::OkStatus();
  };
  what.check = [&]() -> absl::StatusOr<uint64_t> {
    uint64_t mismatches = options.flip_a_byte ? 1 : 0;  // the memory itself is read-only here
    for (uint32_t i = 0; i < stored.count(); ++i) mismatches += reader.Mismatches(i);
    CISTERN_RETURN_IF_ERROR(reader.ReleaseAll());
    if (mismatches == 0) return what.bytes * what.operations;
    return absl::DataLossError(
        absl::StrCat(mismatches, " rows of ", shape.name, " in place are not what was published"));
  };
  CISTERN_ASSIGN_OR_RETURN(TransferLine line, Compare(what, sweep));
  line.path = "inplace";
  line.object = shape.name;
  line.limit = "read of own memory";
  emit(line);
  return absl::OkStatus();
}

}  // namespace cistern::tools
