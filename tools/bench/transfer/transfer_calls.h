// Calls of a worker to a node that must bring everything: what measurements have in common.
//
// Thread  any; a Client, a Link and the objects as they say
// Errors  Unavailable: the node has not, or took not, all of it. Others: the call failed
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "cistern/client.h"
#include "tools/bench/transfer/paged_objects.h"
#include "tools/bench/transfer/transfer_shape.h"
#include "transport/link.h"

namespace cistern::tools {

// A plan that finds all of `tokens`; Unavailable: the node has not all of them.
absl::StatusOr<Plan> PlanAll(Client& client, const base::ModelSpec& model,
                             const std::vector<base::TokenId>& tokens);
// Fetches all that is planned. Unavailable: some did not come.
absl::StatusOr<FetchResult> FetchAll(Client& client, Plan plan, const PagedCache& into);
// Publishes sequence `i` of `source` whole. Unavailable: the node did not take all of it.
absl::Status PublishAll(Client& client, const PagedObjects& source, uint32_t i,
                        const RowSource& rows, std::span<const uint32_t> part_boundaries = {});
// The bytes of all sequences, when they are right.
absl::StatusOr<uint64_t> CheckAll(PagedObjects& objects, const TransferShape& shape, bool flip);
// All objects of `model` go.
absl::Status EvictModel(transport::Link& link, const base::ModelSpec& model);
// Where the node listens for workers of other hosts.
absl::StatusOr<std::string> UcxAddress(transport::Link& link);

}  // namespace cistern::tools
