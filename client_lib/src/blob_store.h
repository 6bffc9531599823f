// The client's blobs (cistern/blobs.h), put together from its parts.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"

#include "cistern/blobs.h"
#include "client_lib/src/connection.h"
#include "client_lib/src/counters.h"

namespace cistern::client {

class BlobStore final : public Blobs {
 public:
  // Runs a call that asks the node, or refuses.
  using Guard = std::function<absl::Status(absl::FunctionRef<absl::Status()>)>;

  // `connection` and `counters` outlive it.
  BlobStore(std::string salt, uint64_t max_staging_bytes, Connection* connection,
            Counters* counters, Guard guard);

  absl::StatusOr<std::vector<uint64_t>> Find(std::span<const absl::string_view> names,
                                             absl::Duration deadline) override;
  absl::StatusOr<std::vector<PutOutcome>> Put(std::span<const BlobSource> blobs,
                                              absl::Duration deadline) override;
  absl::StatusOr<std::vector<GetOutcome>> Get(std::span<const BlobTarget> blobs,
                                              absl::Duration deadline) override;
  absl::StatusOr<std::vector<BlobView>> View(std::span<const absl::string_view> names,
                                             absl::Duration deadline) override;
  absl::StatusOr<uint64_t> Pin(std::span<const absl::string_view> names, bool pinned,
                               absl::Duration deadline) override;

 private:
  std::vector<base::Key> Keys(std::span<const absl::string_view> names) const;
  // `ask`: from a session and the call's end to an answer.
  template <typename Answer, typename Fn>
  absl::StatusOr<Answer> Asking(absl::Duration deadline, Fn ask);

  const std::string salt_;
  const uint64_t tenant_;
  const uint64_t max_staging_bytes_;
  Connection& connection_;
  Counters& counters_;
  const Guard guard_;
};

}  // namespace cistern::client
