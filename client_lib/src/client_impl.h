// The client put together from its parts.
#pragma once

#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "cistern/client.h"
#include "client_lib/src/blob_store.h"
#include "client_lib/src/breaker.h"
#include "client_lib/src/connection.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/fetcher.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/publisher.h"
#include "client_lib/src/rates.h"

namespace cistern::client {

class ClientImpl final : public Client {
 public:
  ClientImpl(std::unique_ptr<transport::Link> link, Connector connector,
             const ClientOptions& options, const base::Clock* clock, uint64_t seed);

  absl::StatusOr<Plan> MakePlan(const ModelSpec& model, std::span<const TokenId> tokens,
                                const PlanPolicy& policy,
                                std::span<const uint32_t> part_boundaries) override;
  absl::StatusOr<FetchHandle> Fetch(Plan&& plan, const PagedCache& destination,
                                    const FetchOptions& options) override;
  absl::StatusOr<PublishReport> Publish(const ModelSpec& model, std::span<const TokenId> tokens,
                                        const FetchResult& fetched, TokenRange range,
                                        const RowSource& rows,
                                        std::span<const uint32_t> part_boundaries) override;
  absl::StatusOr<PublishHandle> StartPublish(const ModelSpec& model,
                                             std::span<const TokenId> tokens,
                                             const FetchResult& fetched, TokenRange range,
                                             const RowSource& rows,
                                             std::span<const uint32_t> part_boundaries) override;
  absl::StatusOr<StateReport> PublishStates(const ModelSpec& model, std::span<const TokenId> tokens,
                                            const FetchResult& fetched, const StateSource& source,
                                            const StatePolicy& policy,
                                            std::span<const uint32_t> part_boundaries) override;
  Blobs& blobs() override { return blobs_; }
  ClientStats stats() const override { return counters_.Snapshot(); }

 private:
  absl::StatusOr<Plan> TryPlan(const ModelSpec& model, std::span<const TokenId> tokens,
                               const PlanPolicy& policy, std::span<const uint32_t> part_boundaries);
  // What Publish, StartPublish and PublishStates have in common: fills `request` in, and counts.
  // `send`: from it and the session to the answer.
  template <typename Request, typename Fn>
  auto Sharing(const ModelSpec& model, Request request, Fn send)
      -> decltype(send(request, nullptr));
  // Runs `call`, which asks the node and says how that went, unless the node is too slow.
  template <typename Fn>
  absl::Status Guarded(Fn call);

  const ClientOptions options_;
  Counters counters_;
  Rates rates_;
  ModelBook models_;
  Connection connection_;
  Breaker breaker_;
  BlobStore blobs_;
  Fetcher fetcher_;  // stops first
};

// InvalidArgument, naming the option.
absl::Status ValidateOptions(const ClientOptions& options);

}  // namespace cistern::client

namespace cistern {

class FetchHandle::Impl {
 public:
  Impl(std::shared_ptr<client::FetchState> fetch, std::shared_ptr<client::FetchQueue> its_queue)
      : state(std::move(fetch)), queue(std::move(its_queue)) {}
  const std::shared_ptr<client::FetchState> state;
  const std::shared_ptr<client::FetchQueue> queue;
};

class PublishHandle::Impl {
 public:
  Impl(std::unique_ptr<client::PublishStream> publish, client::Counters* count)
      : stream(std::move(publish)), counters(count) {}
  std::unique_ptr<client::PublishStream> stream;  // null: it has finished
  client::Counters* const counters;
};

}  // namespace cistern
