#include "cistern/plan.h"

#include <utility>

#include "client_lib/src/plan_impl.h"

namespace cistern {
namespace {

const PlanImpl& Empty() {
  static const PlanImpl* const empty = new PlanImpl;
  return *empty;
}

}  // namespace

PlanImpl::~PlanImpl() {
  if (session == nullptr) return;
  std::vector<transport::LeaseId> leases;
  for (const PlannedObject& object : objects) {
    if (object.lease != 0) leases.push_back(object.lease);
  }
  for (const PlannedState& state : states) {
    if (state.lease != 0) leases.push_back(state.lease);
  }
  if (!leases.empty()) session->Release(std::move(leases));
}

Plan::Plan() = default;
Plan::Plan(std::unique_ptr<PlanImpl> impl) : impl_(std::move(impl)) {}
Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

const std::vector<Span>& Plan::spans() const { return (impl_ ? *impl_ : Empty()).spans; }
const PlanStats& Plan::stats() const { return (impl_ ? *impl_ : Empty()).stats; }
uint32_t Plan::num_tokens() const { return (impl_ ? *impl_ : Empty()).num_tokens; }
const Resume& Plan::resume() const { return (impl_ ? *impl_ : Empty()).resume; }
const std::vector<uint32_t>& Plan::wanted_states() const {
  return (impl_ ? *impl_ : Empty()).wanted_states;
}

}  // namespace cistern
