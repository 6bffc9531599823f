#include "cacheserver/service/find_states.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace cistern::cacheserver {
namespace {

using storage::ObjectId;
using storage::ObjectView;
using storage::Store;

// As far as both go.
bool SameTokens(std::span<const base::TokenId> a, std::span<const base::TokenId> b) {
  const auto common = static_cast<ptrdiff_t>(std::min(a.size(), b.size()));
  return std::equal(a.begin(), a.begin() + common, b.begin());
}

class Walk {
 public:
  // `known`: the prompt's first tokens, as far as chunks were found.
  Walk(const Store& store, const base::Key& model, std::vector<base::TokenId> known)
      : store_(store), model_(model), known_(std::move(known)) {}

  // `next`: the chunk that begins there, as far as it is known.
  void AddCheckpoints(const base::Key& context, const KnownChunk* next) {
    std::vector<ObjectView> fitting;
    for (const ObjectView& view :
         store_.CheckpointsFrom(context, kMaxComparedCheckpoints - compared_)) {
      ++compared_;
      if (view.header->model() != model_) continue;
      if (next != nullptr && !SameTokens(view.header->tokens(), next->tokens)) continue;
      fitting.push_back(view);
      if (next == nullptr && fitting.size() == kMaxUnknownCheckpoints) break;
    }
    std::stable_sort(fitting.begin(), fitting.end(), [](const ObjectView& a, const ObjectView& b) {
      return a.header->num_tokens() > b.header->num_tokens();
    });
    for (const ObjectView& view : fitting) {
      if (checkpoints_ == kMaxFoundCheckpoints) return;
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
           store_.LogsFrom(state.context, state.position, kMaxComparedLogs - compared_logs_)) {
        ++compared_logs_;
        if (logs_.size() == kMaxFoundLogs) return;
        if (log.header->model() != model_ || !MayServe(*log.header)) continue;
        if (!logs_.insert(log.id).second) continue;
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
  static uint32_t EndOf(const storage::StoredHeader& header) {
    return header.base_position + header.num_tokens();
  }

  // Whether the log's tokens are the prompt's, as far as these are known. Of those that begin where
  // nothing is known, the first few.
  bool MayServe(const storage::StoredHeader& log) {
    if (log.base_position >= known_.size()) return ++unknown_logs_ <= kMaxUnknownLogs;
    const size_t common = std::min<size_t>(log.num_tokens(), known_.size() - log.base_position);
    const std::span<const base::TokenId> first = log.tokens().first(common);
    return std::equal(first.begin(), first.end(), known_.begin() + log.base_position);
  }

  const Store& store_;
  const base::Key& model_;
  const std::vector<base::TokenId> known_;
  std::vector<ObjectId> found_;
  absl::flat_hash_set<ObjectId> logs_;
  size_t checkpoints_ = 0;
  size_t compared_ = 0;  // checkpoints
  size_t compared_logs_ = 0;
  size_t unknown_logs_ = 0;
};

}  // namespace

std::vector<ObjectId> StatesOnTheWay(const Store& store, const base::Key& model,
                                     const base::Key& start_context,
                                     const std::vector<KnownChunk>& chunks) {
  std::vector<base::TokenId> tokens;
  for (const KnownChunk& chunk : chunks) {
    tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
  }
  Walk walk(store, model, std::move(tokens));
  for (size_t known = chunks.size() + 1; known-- > 0 && !walk.full();) {
    const base::Key& context = known == 0 ? start_context : chunks[known - 1].context;
    walk.AddCheckpoints(context, known == chunks.size() ? nullptr : &chunks[known]);
  }
  walk.AddLogs(start_context, 0);
  return walk.Take();
}

}  // namespace cistern::cacheserver
