// What is behind a Plan: its spans, the state behind them, and the leases on what they need.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/arena_layout.h"
#include "base/object.h"
#include "cistern/plan.h"
#include "client_lib/src/model_book.h"
#include "client_lib/src/session.h"
#include "transport/wire/messages.h"

namespace cistern {

// An object that spans of a plan use; ObjectRef without its tokens, which have been compared.
struct PlannedObject {
  transport::ObjectId id = 0;
  transport::LeaseId lease = 0;        // 0: to be asked for
  std::vector<base::BlockRef> blocks;  // of the lease
  bool on_disk = false;
  uint32_t num_tokens = 0;
  uint32_t base_position = 0;
  base::RotaryEncoding encoding = base::RotaryEncoding::kUnrotated;
  base::RotaryArithmetic arithmetic = base::RotaryArithmetic::kFp32Table;
};

// A checkpoint or log that the state at Resume::position is made from.
struct PlannedState {
  transport::ObjectId id = 0;
  transport::LeaseId lease = 0;        // 0: to be asked for
  std::vector<base::BlockRef> blocks;  // of the lease
  bool on_disk = false;
  base::ObjectKind kind = base::ObjectKind::kCheckpoint;
  base::LogTails tails = base::LogTails::kEnd;
  uint32_t num_tokens = 0;   // of a log, all
  uint32_t used_tokens = 0;  // of a log, from its first one
};

class PlanImpl {
 public:
  ~PlanImpl();  // gives the leases back

  static Plan Wrap(std::unique_ptr<PlanImpl> impl) { return Plan(std::move(impl)); }
  static std::unique_ptr<PlanImpl> Unwrap(Plan plan) { return std::move(plan.impl_); }

  std::shared_ptr<const client::Model> model;
  std::shared_ptr<client::Session> session;  // null: nothing is reused
  std::vector<Span> spans;                   // without gaps
  // Per span: Publish may want its k_r before RoPE, because the worker computes the rest of its
  // chunk, or may lengthen the chunk (the last one).
  std::vector<bool> beside_computed;
  std::vector<PlannedObject> objects;
  std::vector<PlannedState> states;  // the checkpoint, if there is one, then logs in order
  PlanStats stats;
  Resume resume;
  std::vector<uint32_t> wanted_states;
  uint32_t num_tokens = 0;
};

}  // namespace cistern
