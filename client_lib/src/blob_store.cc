#include "client_lib/src/blob_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/blob_key.h"
#include "base/object.h"
#include "base/status_macros.h"
#include "client_lib/src/blob_get.h"
#include "client_lib/src/blob_leases.h"
#include "client_lib/src/blob_put.h"
#include "client_lib/src/mapped_blocks.h"
#include "client_lib/src/pending_call.h"

namespace cistern {

class BlobView::Impl {
 public:
  Impl(std::shared_ptr<client::Session> session, client::FoundBlob blob)
      : session_(std::move(session)),
        blob_(std::move(blob)),
        runs_(client::BlobRuns(blob_, *session_)) {}
  ~Impl() { session_->Release({blob_.lease}); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  uint64_t size() const { return blob_.bytes; }
  const std::vector<std::span<const std::byte>>& runs() const { return runs_; }
  bool StillThere() const {
    return client::StillThere(session_->link(), session_->incarnation(), blob_.blocks);
  }

 private:
  const std::shared_ptr<client::Session> session_;
  const client::FoundBlob blob_;
  const std::vector<transport::Slice> runs_;
};

BlobView::BlobView() = default;
BlobView::BlobView(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BlobView::~BlobView() = default;
BlobView::BlobView(BlobView&&) noexcept = default;
BlobView& BlobView::operator=(BlobView&&) noexcept = default;

uint64_t BlobView::size() const { return impl_ == nullptr ? 0 : impl_->size(); }

const std::vector<std::span<const std::byte>>& BlobView::runs() const {
  static const auto* const none = new std::vector<std::span<const std::byte>>();
  return impl_ == nullptr ? *none : impl_->runs();
}

bool BlobView::StillThere() const { return impl_ != nullptr && impl_->StillThere(); }

}  // namespace cistern

namespace cistern::client {
namespace {

absl::Status CheckSize(const BlobSource& blob, uint64_t max_staging_bytes) {
  const uint64_t bytes = blob.bytes.size();
  if (bytes == 0 || bytes > base::ObjectHeader::kMaxBlobBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a blob of ", bytes, " bytes; 1 to ", base::ObjectHeader::kMaxBlobBytes, " can be stored"));
  }
  constexpr uint64_t kStep = 1 << 20;  // buffers have whole steps of it
  if ((bytes + kStep - 1) / kStep * kStep <= max_staging_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a blob of ", bytes, " bytes; max_staging_bytes is ", max_staging_bytes));
}

// Copies what is leased and has the size of its memory; gives the leases back.
absl::Status CopyLeased(std::span<const BlobTarget> blobs, BlobLeases* leases, Counters* counters,
                        std::vector<GetOutcome>* outcomes) {
  std::vector<BlobCopy> copies;
  std::vector<size_t> places;
  for (size_t i = 0; i < blobs.size(); ++i) {
    const FoundBlob& found = leases->blobs()[i];
    if (found.lease == 0 || (*outcomes)[i] != GetOutcome::kMissing) continue;
    copies.push_back({&found, blobs[i].memory});
    places.push_back(i);
  }
  absl::Status status = CopyBlobs(&copies, leases->until(), leases->session(), counters);
  for (size_t i = 0; i < copies.size(); ++i) {
    if (copies[i].done) (*outcomes)[places[i]] = GetOutcome::kFilled;
  }
  leases->GiveBack();
  return status;
}

}  // namespace

BlobStore::BlobStore(std::string salt, uint64_t max_staging_bytes, Connection* connection,
                     Counters* counters, Guard guard)
    : salt_(std::move(salt)),
      tenant_(base::TenantOf(salt_)),
      max_staging_bytes_(max_staging_bytes),
      connection_(*connection),
      counters_(*counters),
      guard_(std::move(guard)) {}

std::vector<base::Key> BlobStore::Keys(std::span<const absl::string_view> names) const {
  std::vector<base::Key> keys;
  keys.reserve(names.size());
  for (const absl::string_view name : names) keys.push_back(base::BlobKey(salt_, name));
  return keys;
}

template <typename Answer, typename Fn>
absl::StatusOr<Answer> BlobStore::Asking(absl::Duration deadline, Fn ask) {
  CISTERN_ASSIGN_OR_RETURN(std::shared_ptr<Session> session, connection_.Current());
  session->GiveBackLate();
  const absl::Time until = absl::Now() + deadline;
  absl::StatusOr<Answer> answer = absl::UnknownError("");
  CISTERN_RETURN_IF_ERROR(guard_([&] {
    answer = ask(std::move(session), until);
    return answer.status();
  }));
  return answer;
}

absl::StatusOr<std::vector<uint64_t>> BlobStore::Find(std::span<const absl::string_view> names,
                                                      absl::Duration deadline) {
  using Sizes = std::vector<uint64_t>;
  return Asking<Sizes>(
      deadline, [&](std::shared_ptr<Session> session, absl::Time until) -> absl::StatusOr<Sizes> {
        BlobLeases found(std::move(session), until);
        CISTERN_RETURN_IF_ERROR(found.Find(Keys(names), /*lease=*/false));
        Sizes sizes;
        sizes.reserve(names.size());
        for (const FoundBlob& blob : found.blobs()) sizes.push_back(blob.bytes);
        return sizes;
      });
}

absl::StatusOr<std::vector<PutOutcome>> BlobStore::Put(std::span<const BlobSource> blobs,
                                                       absl::Duration deadline) {
  ++counters_.publishes;
  std::vector<NewBlob> all;
  all.reserve(blobs.size());
  absl::Status valid;
  for (const BlobSource& blob : blobs) {
    valid.Update(CheckSize(blob, max_staging_bytes_));
    all.push_back({base::BlobKey(salt_, blob.name), tenant_, blob.bytes});
  }
  using Outcomes = std::vector<PutOutcome>;
  const auto send = [&](const std::shared_ptr<Session>& session,
                        absl::Time until) -> absl::StatusOr<Outcomes> {
    Outcomes outcomes(blobs.size(), PutOutcome::kDropped);
    CISTERN_RETURN_IF_ERROR(PutBlobs(all, until, *session, &counters_, outcomes));
    return outcomes;
  };
  auto put = valid.ok() ? Asking<Outcomes>(deadline, send) : absl::StatusOr<Outcomes>(valid);
  if (!put.ok()) ++counters_.publish_failures;
  return put;
}

absl::StatusOr<std::vector<GetOutcome>> BlobStore::Get(std::span<const BlobTarget> blobs,
                                                       absl::Duration deadline) {
  ++counters_.fetches;
  std::vector<base::Key> keys;
  keys.reserve(blobs.size());
  for (const BlobTarget& blob : blobs) keys.push_back(base::BlobKey(salt_, blob.name));
  using Outcomes = std::vector<GetOutcome>;
  auto got = Asking<Outcomes>(
      deadline,
      [&](std::shared_ptr<Session> session, absl::Time until) -> absl::StatusOr<Outcomes> {
        Outcomes outcomes(blobs.size(), GetOutcome::kMissing);
        BlobLeases leases(std::move(session), until);
        CISTERN_RETURN_IF_ERROR(leases.Find(keys, /*lease=*/true));
        for (size_t i = 0; i < blobs.size(); ++i) {
          FoundBlob& found = leases.blobs()[i];
          if (found.bytes == 0 || found.bytes == blobs[i].memory.size()) continue;
          outcomes[i] = GetOutcome::kOtherSize;
          if (found.lease == 0) found.bytes = 0;  // not to be leased either
        }
        for (bool more = true; more;) {
          CISTERN_RETURN_IF_ERROR(CopyLeased(blobs, &leases, &counters_, &outcomes));
          CISTERN_ASSIGN_OR_RETURN(more, leases.LeaseMore());
        }
        return outcomes;
      });
  if (!got.ok()) ++counters_.fetch_failures;
  return got;
}

absl::StatusOr<std::vector<BlobView>> BlobStore::View(std::span<const absl::string_view> names,
                                                      absl::Duration deadline) {
  using Views = std::vector<BlobView>;
  ++counters_.fetches;
  auto viewed = Asking<Views>(
      deadline, [&](std::shared_ptr<Session> session, absl::Time until) -> absl::StatusOr<Views> {
        if (!session->mapped()) {
          return absl::FailedPreconditionError(
              "the node's memory is not mapped here: Get copies the bytes");
        }
        BlobLeases leases(std::move(session), until);
        CISTERN_RETURN_IF_ERROR(leases.Find(Keys(names), /*lease=*/true));
        for (bool more = true; more;) {
          CISTERN_ASSIGN_OR_RETURN(more, leases.LeaseMore());
        }
        Views views(names.size());
        for (size_t i = 0; i < names.size(); ++i) {
          FoundBlob& found = leases.blobs()[i];
          if (found.lease == 0 || BlobRuns(found, leases.session()).empty()) continue;
          FoundBlob mine = std::exchange(found, {});
          views[i] =
              BlobView(std::make_unique<BlobView::Impl>(leases.shared_session(), std::move(mine)));
        }
        return views;
      });
  if (!viewed.ok()) ++counters_.fetch_failures;
  return viewed;
}

absl::StatusOr<uint64_t> BlobStore::Pin(std::span<const absl::string_view> names, bool pinned,
                                        absl::Duration deadline) {
  return Asking<uint64_t>(
      deadline,
      [&](const std::shared_ptr<Session>& session, absl::Time until) -> absl::StatusOr<uint64_t> {
        uint64_t stored = 0;
        for (const base::Key& key : Keys(names)) {
          transport::AdminRequest request;
          request.verb = pinned ? transport::AdminVerb::kPin : transport::AdminVerb::kUnpin;
          request.key = key;
          transport::CallOptions options;
          options.deadline = session->CallDeadline(until);
          const auto reply = CallNow<transport::AdminReply>(session->link(), std::move(request),
                                                            std::move(options));
          if (reply.ok()) ++stored;
          if (!reply.ok() && !absl::IsNotFound(reply.status())) return reply.status();
        }
        return stored;
      });
}

}  // namespace cistern::client
