#include "cacheserver/service/find_states.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace cistern::cacheserver {
namespace {

using storage::ObjectId;
using storage::ObjectView;
using storage::Store;

// As far as both go.
bool SameTokens(const std::vector<base::TokenId>& a, const std::vector<base::TokenId>& b) {
  const auto common = static_cast<ptrdiff_t>(std::min(a.size(), b.size()));
  return std::equal(a.begin(), a.begin() + common, b.begin());
}

class Walk {
 public:
  Walk(const Store& store, const base::Key& model) : store_(store), model_(model) {}

  // `next`: the chunk that begins there, as far as it is known.
  void AddCheckpoints(const base::Key& context, const base::ObjectHeader* next) {
    std::vector<ObjectView> fitting;
    for (const ObjectView& view :
         store_.CheckpointsFrom(context, kMaxComparedCheckpoints - compared_)) {
      ++compared_;
      if (view.header->model != model_) continue;
      if (next != nullptr && !SameTokens(view.header->tokens, next->tokens)) continue;
      fitting.push_back(view);
      if (next == nullptr && fitting.size() == kMaxUnknownCheckpoints) break;
    }
    std::stable_sort(fitting.begin(), fitting.end(), [](const ObjectView& a, const ObjectView& b) {
      return a.header->num_tokens() > b.header->num_tokens();
    });
    for (const ObjectView& view : fitting) {
      if (full()) return;
      ++checkpoints_;
      found_.push_back(view.id);
      AddLogs(view.header->context, EndOf(*view.header));
    }
  }

  // Of the state at `context`, behind `position` tokens, and of all that these lead to.
  void AddLogs(const base::Key& context, uint32_t position) {
    struct State {
      base::Key context;
      uint32_t position;
    };
    std::vector<State> states = {{context, position}};
    for (size_t i = 0; i < states.size(); ++i) {
      const State state = states[i];
      for (const ObjectView& log :
           store_.LogsFrom(state.context, state.position, kMaxFoundLogs - logs_.size())) {
        if (log.header->model != model_ || !logs_.insert(log.id).second) continue;
        found_.push_back(log.id);
        states.push_back({log.header->context, EndOf(*log.header)});
      }
    }
  }

  bool full() const {
    return checkpoints_ == kMaxFoundCheckpoints || compared_ == kMaxComparedCheckpoints;
  }
  std::vector<ObjectId> Take() { return std::move(found_); }

 private:
  static uint32_t EndOf(const base::ObjectHeader& header) {
    return header.base_position + header.num_tokens();
  }

  const Store& store_;
  const base::Key& model_;
  std::vector<ObjectId> found_;
  absl::flat_hash_set<ObjectId> logs_;
  size_t checkpoints_ = 0;
  size_t compared_ = 0;
};

}  // namespace

std::vector<ObjectId> StatesOnTheWay(const Store& store, const base::Key& model,
                                     const base::Key& start_context,
                                     const std::vector<KnownChunk>& chunks) {
  Walk walk(store, model);
  for (size_t known = chunks.size() + 1; known-- > 0 && !walk.full();) {
    const base::Key& context = known == 0 ? start_context : chunks[known - 1].context;
    walk.AddCheckpoints(context, known == chunks.size() ? nullptr : chunks[known].segment);
  }
  walk.AddLogs(start_context, 0);
  return walk.Take();
}

}  // namespace cistern::cacheserver
