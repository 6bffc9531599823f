#include "tools/bench/python/cpp_worker.h"

#include <chrono>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "cistern/client.h"
#include "tools/bench/transfer/cold_memory.h"

namespace cistern::tools {

std::vector<base::TokenId> DrawTokens(uint64_t seed, uint32_t count) {
  std::vector<base::TokenId> tokens(count);
  for (uint32_t i = 0; i < count; ++i) {  // splitmix64
    uint64_t x = (seed << 32 | i) + 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    tokens[i] = static_cast<base::TokenId>((x ^ (x >> 31)) % 1'000'000);
  }
  return tokens;
}

namespace {

constexpr uint32_t kCacheBlockTokens = 64;

// Finite as bf16, whatever they are taken for.
void FillBytes(std::byte* at, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes / 2; ++i) {
    const auto value = static_cast<uint16_t>(i * 31 % 16000);
    std::memcpy(at + 2 * i, &value, sizeof(value));
  }
}

// A worker's paged cache and one to fetch into; blocks in reverse order.
//
// Shapes   [layer][block][slot][row]
struct CachePair {
  CachePair(const base::ModelSpec& of, uint32_t count)
      : model(of),
        tokens(count),
        table((count + kCacheBlockTokens - 1) / kCacheBlockTokens),
        computed(Bytes()),
        fetched(Bytes()) {
    std::iota(table.rbegin(), table.rend(), 0);
    FillBytes(computed.data(), computed.size());
  }
  uint64_t Bytes() const {
    return uint64_t{model.num_layers} * table.size() * kCacheBlockTokens * model.row_bytes;
  }
  PagedCache View(const Memory& memory) const {
    PagedCache cache{.block_table = table,
                     .num_blocks = table.size(),
                     .block_tokens = kCacheBlockTokens,
                     .block_stride = uint64_t{kCacheBlockTokens} * model.row_bytes,
                     .row_stride = model.row_bytes};
    cache.layer_base.reserve(model.num_layers);
    for (uint32_t layer = 0; layer < model.num_layers; ++layer)
      cache.layer_base.push_back(memory.data() + layer * table.size() * cache.block_stride);
    return cache;
  }
  // Every row of the sequence, bit for bit.
  bool Same() const {
    const PagedCache a = View(computed), b = View(fetched);
    for (uint32_t layer = 0; layer < model.num_layers; ++layer) {
      for (uint32_t t = 0; t < tokens; ++t) {
        const uint64_t at = static_cast<uint64_t>(table[t / kCacheBlockTokens]) * a.block_stride +
                            t % kCacheBlockTokens * a.row_stride;
        if (std::memcmp(a.layer_base[layer] + at, b.layer_base[layer] + at, model.row_bytes) != 0)
          return false;
      }
    }
    return true;
  }

  const base::ModelSpec model;
  const uint32_t tokens;
  std::vector<int32_t> table;
  Memory computed, fetched;
};

absl::Status WrongAnswer(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("C++ side: ", what, " is not what was stored"));
}

class CppWorker final : public BenchWorker {
 public:
  CppWorker(const WorkTerms& terms, std::unique_ptr<Client> client)
      : terms_(terms),
        client_(std::move(client)),
        lookup_(terms.lookup, kLookupKeys * kLookupChunkTokens),
        small_(terms.small.model, terms.small.tokens),
        large_(terms.large.model, terms.large.tokens),
        lookup_tokens_(DrawTokens(next_seed_++, lookup_.tokens)),
        small_tokens_(DrawTokens(next_seed_++, small_.tokens)) {}

  absl::Status SetUp();
  absl::StatusOr<WorkTimes> Measure(absl::string_view work, uint32_t calls) override;

 private:
  // One call right after the other; what they answer is looked at afterwards.
  static absl::StatusOr<WorkTimes> Time(uint32_t calls,
                                        absl::FunctionRef<absl::Status(uint32_t i)> call);
  absl::StatusOr<WorkTimes> MeasureBlobFind(uint32_t calls);
  absl::StatusOr<WorkTimes> MeasurePlan(uint32_t calls);
  absl::StatusOr<WorkTimes> MeasureSmallFetch(uint32_t calls);
  absl::StatusOr<WorkTimes> MeasureGet(uint32_t calls);
  absl::StatusOr<WorkTimes> MeasurePut(uint32_t calls);
  absl::StatusOr<WorkTimes> MeasureRows(CachePair& rows, uint32_t calls);
  absl::StatusOr<WorkTimes> MeasureView(uint32_t calls);

  absl::StatusOr<Plan> PlanWhole(const CachePair& rows, const std::vector<base::TokenId>& tokens);
  absl::StatusOr<std::vector<Plan>> Plans(const CachePair& rows,
                                          const std::vector<base::TokenId>& tokens, uint32_t count);
  absl::Status PublishWhole(const CachePair& rows, const std::vector<base::TokenId>& tokens,
                            std::span<const uint32_t> parts = {});
  absl::Status FetchBack(CachePair& rows, const std::vector<base::TokenId>& tokens);
  absl::Status PutOne(absl::string_view name, std::span<const std::byte> bytes);

  const WorkTerms terms_;
  const std::unique_ptr<Client> client_;
  CachePair lookup_, small_, large_;
  uint64_t next_seed_ = 1;
  const std::vector<base::TokenId> lookup_tokens_, small_tokens_;
  std::vector<uint32_t> parts_;
  std::vector<std::string> names_, view_names_;
  std::vector<absl::string_view> name_views_;
  std::vector<std::byte> small_blob_ = std::vector<std::byte>(kSmallBlobBytes);
  Memory view_bytes_{kViewBytes};
  uint64_t next_name_ = 0, next_view_ = 0;
};

absl::Status CppWorker::SetUp() {
  FillBytes(small_blob_.data(), small_blob_.size());
  FillBytes(view_bytes_.data(), view_bytes_.size());
  names_.reserve(kLookupKeys);
  for (uint32_t i = 0; i < kLookupKeys; ++i) {
    names_.push_back(absl::StrCat("c++ page ", i));
    CISTERN_RETURN_IF_ERROR(PutOne(names_.back(), small_blob_));
    if (i > 0) parts_.push_back(i * kLookupChunkTokens);
  }
  name_views_.assign(names_.begin(), names_.end());
  view_names_.reserve(kViews);
  for (uint32_t i = 0; i < kViews; ++i) {
    view_names_.push_back(absl::StrCat("c++ view ", i));
    CISTERN_RETURN_IF_ERROR(PutOne(view_names_.back(), {view_bytes_.data(), view_bytes_.size()}));
  }
  CISTERN_RETURN_IF_ERROR(PublishWhole(lookup_, lookup_tokens_, parts_));
  return PublishWhole(small_, small_tokens_);
}

absl::StatusOr<WorkTimes> CppWorker::Time(uint32_t calls,
                                          absl::FunctionRef<absl::Status(uint32_t i)> call) {
  WorkTimes times;
  times.us.reserve(calls);
  for (uint32_t i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    CISTERN_RETURN_IF_ERROR(call(i));
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    times.us.push_back(took.count());
  }
  return times;
}

absl::StatusOr<WorkTimes> CppWorker::MeasureBlobFind(uint32_t calls) {
  std::vector<std::vector<uint64_t>> sizes(calls);
  CISTERN_ASSIGN_OR_RETURN(WorkTimes times, Time(calls, [&](uint32_t i) -> absl::Status {
                             CISTERN_ASSIGN_OR_RETURN(
                                 sizes[i], client_->blobs().Find(name_views_, absl::Seconds(5)));
                             return absl::OkStatus();
                           }));
  const std::vector<uint64_t> expected(kLookupKeys, kSmallBlobBytes);
  for (const std::vector<uint64_t>& one : sizes) {
    if (one != expected) return WrongAnswer("what find says");
  }
  return times;
}

absl::StatusOr<Plan> CppWorker::PlanWhole(const CachePair& rows,
                                          const std::vector<base::TokenId>& tokens) {
  PlanPolicy policy;
  policy.min_span_tokens = 1;
  policy.compute_last_token = false;
  policy.deadline = absl::Seconds(5);
  return client_->MakePlan(
      rows.model, tokens, policy,
      &rows == &lookup_ ? std::span<const uint32_t>(parts_) : std::span<const uint32_t>());
}

absl::StatusOr<std::vector<Plan>> CppWorker::Plans(const CachePair& rows,
                                                   const std::vector<base::TokenId>& tokens,
                                                   uint32_t count) {
  std::vector<Plan> plans;
  plans.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    CISTERN_ASSIGN_OR_RETURN(Plan plan, PlanWhole(rows, tokens));
    plans.push_back(std::move(plan));
  }
  return plans;
}

// The plans give their leases back when all are made.
absl::StatusOr<WorkTimes> CppWorker::MeasurePlan(uint32_t calls) {
  std::vector<Plan> plans(calls);
  CISTERN_ASSIGN_OR_RETURN(WorkTimes times, Time(calls, [&](uint32_t i) -> absl::Status {
                             CISTERN_ASSIGN_OR_RETURN(plans[i], PlanWhole(lookup_, lookup_tokens_));
                             return absl::OkStatus();
                           }));
  for (const Plan& plan : plans) {
    if (plan.stats().exact_tokens != lookup_tokens_.size()) return WrongAnswer("what a plan found");
  }
  return times;
}

absl::StatusOr<WorkTimes> CppWorker::MeasureSmallFetch(uint32_t calls) {
  std::memset(small_.fetched.data(), 0, small_.fetched.size());
  const PagedCache into = small_.View(small_.fetched);
  CISTERN_ASSIGN_OR_RETURN(std::vector<Plan> plans, Plans(small_, small_tokens_, calls));
  std::vector<FetchResult> results(calls);
  CISTERN_ASSIGN_OR_RETURN(WorkTimes times, Time(calls, [&](uint32_t i) -> absl::Status {
                             CISTERN_ASSIGN_OR_RETURN(FetchHandle handle,
                                                      client_->Fetch(std::move(plans[i]), into));
                             CISTERN_ASSIGN_OR_RETURN(results[i], handle.Wait());
                             return absl::OkStatus();
                           }));
  for (const FetchResult& result : results) {
    if (!result.missing.empty()) return absl::UnavailableError("planned rows did not come");
  }
  if (!small_.Same()) return WrongAnswer("what was fetched");
  return times;
}

absl::StatusOr<WorkTimes> CppWorker::MeasureGet(uint32_t calls) {
  std::vector<std::vector<std::byte>> into(calls, std::vector<std::byte>(kSmallBlobBytes));
  std::vector<GetOutcome> got(calls);
  CISTERN_ASSIGN_OR_RETURN(WorkTimes times, Time(calls, [&](uint32_t i) -> absl::Status {
                             const BlobTarget target{names_[0], into[i]};
                             CISTERN_ASSIGN_OR_RETURN(
                                 const std::vector<GetOutcome> outcomes,
                                 client_->blobs().Get({&target, 1}, absl::Seconds(30)));
                             got[i] = outcomes[0];
                             return absl::OkStatus();
                           }));
  for (uint32_t i = 0; i < calls; ++i) {
    if (got[i] != GetOutcome::kFilled || into[i] != small_blob_) return WrongAnswer("a blob");
  }
  return times;
}

absl::Status CppWorker::PutOne(absl::string_view name, std::span<const std::byte> bytes) {
  const BlobSource source{name, bytes};
  CISTERN_ASSIGN_OR_RETURN(const std::vector<PutOutcome> outcomes,
                           client_->blobs().Put({&source, 1}, absl::Seconds(30)));
  if (outcomes[0] == PutOutcome::kStored) return absl::OkStatus();
  return absl::UnavailableError("the node did not store a blob");
}

absl::StatusOr<WorkTimes> CppWorker::MeasurePut(uint32_t calls) {
  std::vector<std::string> names(calls);
  for (std::string& name : names) name = absl::StrCat("c++ put ", next_name_++);
  return Time(calls, [&](uint32_t i) { return PutOne(names[i], small_blob_); });
}

absl::Status CppWorker::PublishWhole(const CachePair& rows,
                                     const std::vector<base::TokenId>& tokens,
                                     std::span<const uint32_t> parts) {
  const RowSource source{.cache = rows.View(rows.computed)};
  CISTERN_ASSIGN_OR_RETURN(
      const PublishReport report,
      client_->Publish(rows.model, tokens, {}, {0, static_cast<uint32_t>(tokens.size())}, source,
                       parts));
  if (report.bytes == tokens.size() * rows.model.token_bytes()) return absl::OkStatus();
  return absl::UnavailableError("the node did not take all rows");
}

absl::Status CppWorker::FetchBack(CachePair& rows, const std::vector<base::TokenId>& tokens) {
  std::memset(rows.fetched.data(), 0, rows.fetched.size());
  CISTERN_ASSIGN_OR_RETURN(Plan plan, PlanWhole(rows, tokens));
  CISTERN_ASSIGN_OR_RETURN(FetchHandle handle,
                           client_->Fetch(std::move(plan), rows.View(rows.fetched)));
  CISTERN_RETURN_IF_ERROR(handle.Wait().status());
  return rows.Same() ? absl::OkStatus() : WrongAnswer("what was published");
}

absl::StatusOr<WorkTimes> CppWorker::MeasureRows(CachePair& rows, uint32_t calls) {
  std::vector<std::vector<base::TokenId>> tokens(calls);
  for (std::vector<base::TokenId>& one : tokens) one = DrawTokens(next_seed_++, rows.tokens);
  CISTERN_ASSIGN_OR_RETURN(WorkTimes times,
                           Time(calls, [&](uint32_t i) { return PublishWhole(rows, tokens[i]); }));
  CISTERN_RETURN_IF_ERROR(FetchBack(rows, tokens.back()));
  return times;
}

absl::StatusOr<WorkTimes> CppWorker::MeasureView(uint32_t calls) {
  std::vector<uint64_t> sums(calls);
  CISTERN_ASSIGN_OR_RETURN(
      WorkTimes times, Time(calls, [&](uint32_t i) -> absl::Status {
        const absl::string_view name = view_names_[next_view_++ % view_names_.size()];
        CISTERN_ASSIGN_OR_RETURN(const std::vector<BlobView> views,
                                 client_->blobs().View({&name, 1}, absl::Seconds(30)));
        if (!views[0].found()) return absl::UnavailableError("a blob was evicted");
        for (const std::span<const std::byte> run : views[0].runs()) sums[i] += ReadOnce(run);
        return views[0].StillThere() ? absl::OkStatus() : absl::UnavailableError("a lease ended");
      }));
  const uint64_t expected = ReadOnce({view_bytes_.data(), view_bytes_.size()});
  for (const uint64_t sum : sums) {
    if (sum != expected) return WrongAnswer("a blob in place");
  }
  return times;
}

absl::StatusOr<WorkTimes> CppWorker::Measure(absl::string_view work, uint32_t calls) {
  if (work == "find") return MeasureBlobFind(calls);
  if (work == "plan" || work == "plan_list") return MeasurePlan(calls);
  if (work == "fetch") return MeasureSmallFetch(calls);
  if (work == "get") return MeasureGet(calls);
  if (work == "put") return MeasurePut(calls);
  if (work == "publish") return MeasureRows(small_, calls);
  if (work == "publish_rows") return MeasureRows(large_, calls);
  if (work == "view") return MeasureView(calls);
  return absl::InvalidArgumentError(absl::StrCat("the C++ side cannot do '", work, "'"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<BenchWorker>> StartCppWorker(const WorkTerms& terms) {
  CISTERN_ASSIGN_OR_RETURN(auto client, Client::Connect({.address = terms.address, .salt = "c++"}));
  auto worker = std::make_unique<CppWorker>(terms, std::move(client));
  CISTERN_RETURN_IF_ERROR(worker->SetUp());
  return std::unique_ptr<BenchWorker>(std::move(worker));
}

}  // namespace cistern::tools
