#include "client_lib/src/model_book.h"

#include <utility>

#include "base/status_macros.h"

namespace cistern::client {

Model::Model(const base::ModelSpec& spec, absl::string_view salt)
    : spec_(spec), fingerprint_(spec.Fingerprint()), keys_(fingerprint_, salt) {}

absl::StatusOr<const kernels::RotaryTable*> Model::Table(base::RotaryArithmetic arithmetic) const {
  const auto index = static_cast<size_t>(arithmetic);
  if (index >= kArithmetics) {
    return absl::InvalidArgumentError("rotary arithmetic of an unknown kind");
  }
  base::MutexLock lock(&mutex_);
  Slot& slot = tables_[index];
  if (slot.table == nullptr && slot.error.ok()) {
    auto made = kernels::RotaryTable::Create(spec_.rotary,
                                             static_cast<kernels::RotaryArithmetic>(arithmetic));
    slot.error = made.status();
    if (made.ok()) slot.table = *std::move(made);
  }
  if (!slot.error.ok()) return slot.error;
  return slot.table.get();
}

absl::StatusOr<std::shared_ptr<const Model>> ModelBook::Find(const base::ModelSpec& spec) {
  {
    base::MutexLock lock(&mutex_);
    for (const auto& model : models_) {
      if (model->spec() == spec) return model;
    }
  }
  CISTERN_RETURN_IF_ERROR(spec.Validate());
  auto model = std::make_shared<const Model>(spec, salt_);
  base::MutexLock lock(&mutex_);
  if (models_.size() >= kMaxModels) models_.erase(models_.begin());
  models_.push_back(model);
  return model;
}

}  // namespace cistern::client
