// State that stands on other state: a log is never kept without the state that it needs, and states
// that a later one makes superfluous go first.
//
// No log is judged while records may come (what is missing may be the next one), nor by a store
// that serves another one above: that one knows all of both and says what goes.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"

#include "storage/store_impl.h"

namespace cistern::storage {
namespace {

bool IsBaseOf(const Passage& state, const Passage& log) {
  return base::IsState(state.kind) && log.parent_context == state.context &&
         log.begin == state.end && log.model == state.model;
}

}  // namespace

Passage PassageOf(const base::ObjectHeader& header) {
  return {.kind = header.kind,
          .model = header.model,
          .context = header.context,
          .parent_context = header.parent_context,
          .begin = header.base_position,
          .end = header.base_position + header.num_tokens()};
}

Passage PassageOf(const StoredHeader& header) {
  return {.kind = header.kind(),
          .model = header.model(),
          .context = header.context,
          .parent_context = header.parent_context,
          .begin = header.base_position,
          .end = header.base_position + header.num_tokens()};
}

// A log of the first tokens stands on the zero state.
bool Store::Impl::HasBase(const Passage& log) const {
  if (log.begin == 0) return true;
  const ContentIndex::Enders states = index.StatesAt(log.parent_context);
  return std::ranges::any_of(
      states, [&](const Object* state) { return IsBaseOf(PassageOf(state->header), log); });
}

absl::Status Store::Impl::CheckBase(const base::ObjectHeader& header) const {
  if (header.kind != base::ObjectKind::kLog || !JudgesLogs()) return absl::OkStatus();
  const Passage log = PassageOf(header);
  if (HasBase(log)) return absl::OkStatus();
  for (const auto& [id, p] : pending) {
    if (!p->aborted && IsBaseOf(PassageOf(p->header), log)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the state at ", header.parent_context.ToHex(),
          ", which this log needs, is still being written: commit that first, then the log"));
    }
  }
  return absl::NotFoundError(absl::StrCat("the state at ", header.parent_context.ToHex(),
                                          ", which this log needs, is gone: the log is dropped"));
}

// The sequence went on from here, and on one way only: who comes back to it finds the later state.
// A state that sequences have left on two ways is where the next one may leave, too. (Marconi,
// MLSys 2025, keeps the states of leaves and of branch points.) A log with tails of every token
// serves everywhere inside: it is judged by its worth.
bool Store::Impl::IsSpent(const Object& state) const {
  if (!base::IsState(state.header.kind()) || state.header.tails() == base::LogTails::kEveryToken) {
    return false;
  }
  const Passage passage = PassageOf(state.header);
  const auto replaces = [&](const Object* object) {
    const Passage other = PassageOf(object->header);
    return passage.kind == base::ObjectKind::kLog && other.kind == base::ObjectKind::kCheckpoint &&
           other.model == passage.model && other.end == passage.end;
  };
  if (std::ranges::any_of(index.StatesAt(passage.context), replaces)) return true;
  const auto stands_on = [&](const Object* log) {
    return IsBaseOf(passage, PassageOf(log->header));
  };
  return index.CountSuccessors(passage.context) == 1 &&
         std::ranges::none_of(index.LogsFrom(passage.context), stands_on);
}

void Store::Impl::RefileStatesAt(const base::Key& context) {
  for (Object* state : index.StatesAt(context)) {
    if (state->filed_resident) Refile(state);
  }
}

// However long a chain is, the calls are no deeper: a nested one leaves the rest to the first.
void Store::Impl::DropLogsWithoutBase(const base::Key& context) {
  if (!JudgesLogs()) return;
  left_contexts.push_back(context);
  if (left_contexts.size() > 1) return;
  for (size_t i = 0; i < left_contexts.size(); ++i) {
    const ContentIndex::Children logs = index.LogsFrom(left_contexts[i]);
    const std::vector<Object*> here(logs.begin(), logs.end());
    for (Object* log : here) {
      if (!HasBase(PassageOf(log->header))) Drop(log);
    }
  }
  left_contexts.clear();
}

// In id order: what is dropped takes what stands on it along.
void Store::Impl::DropAllLogsWithoutBase() {
  std::vector<ObjectId> logs;
  for (const Object* object : objects) {
    if (!object->detached && object->header.kind() == base::ObjectKind::kLog)
      logs.push_back(object->id);
  }
  for (const ObjectId id : logs) {
    Object* const log = FindAttached(id);
    if (log != nullptr && !HasBase(PassageOf(log->header))) Drop(log);
  }
}

}  // namespace cistern::storage
