// From tokens to a plan: cut, name, ask the node once, match token by token, select.
//
// Thread   any; keeps no state
// Errors   InvalidArgument: a wrong call. Unavailable and the node's own errors: compute
// everything. A node that does not
//          answer within the policy's deadline is no error: the plan then says "compute everything"
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"

#include "base/object.h"
#include "cistern/plan.h"
#include "cistern/policy.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/prompt.h"
#include "client_lib/src/session.h"

namespace cistern::client {

struct PlanRequest {
  std::shared_ptr<const Model> model;
  std::span<const base::TokenId> tokens;
  std::span<const uint32_t> part_boundaries;
  PlanPolicy policy;
  CostModel cost;
  base::RotaryArithmetic arithmetic = base::RotaryArithmetic::kFp32Table;  // the worker's
};

// `timed_out` (may be null) tells whether the node did not answer in time.
absl::StatusOr<Plan> MakePlan(const PlanRequest& request, std::shared_ptr<Session> session,
                              bool* timed_out);

}  // namespace cistern::client
