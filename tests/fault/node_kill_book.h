// The texts that the workers of a server with a short life publish, and what is known of each: what
// must be served now, and what a restart on the same directory may find.
//
// Thread   Book: any
#pragma once

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "base/mutex.h"
#include "base/object.h"
#include "tests/integration/node_under_test.h"

namespace cistern::cacheserver {

inline constexpr uint32_t kTexts = 96;  // 22 MiB of blocks in all
inline constexpr uint32_t kMaxTokens = 100;

// One of the computations of a text. Its number travels as the base position; the rows follow it.
inline base::ObjectHeader TextVersion(uint32_t text, uint32_t version) {
  base::ObjectHeader header = TestSegment(text, 1 + text * 37 % kMaxTokens);
  header.base_position = version;
  return header;
}

inline std::vector<std::byte> RowsOf(const base::ObjectHeader& header) {
  std::vector<uint64_t> words(header.num_tokens() * TestModel().token_bytes() / sizeof(uint64_t));
  uint64_t state = (uint64_t{header.tokens[0]} << 32) | header.base_position;
  for (uint64_t& word : words) word = state = state * 6364136223846793005u + 1442695040888963407u;
  std::vector<std::byte> rows(words.size() * sizeof(uint64_t));
  std::memcpy(rows.data(), words.data(), rows.size());
  return rows;
}

// What is known of one text. Version 0 is none.
struct Entry {
  uint64_t changes = 0;               // raised by whatever changes what is served
  uint32_t begun = 0;                 // the newest version
  uint32_t committed = 0;             // what must be served now; 0: not known
  bool acknowledged = false;          // that is on disk
  std::set<uint32_t> possible = {0};  // what a restart may find
};

class Book {
 public:
  Entry Get(uint32_t text) const {
    base::MutexLock lock(&mutex_);
    return entries_[text];
  }
  std::vector<Entry> All() const {
    base::MutexLock lock(&mutex_);
    return entries_;
  }
  void Reserved(uint32_t text) {
    base::MutexLock lock(&mutex_);
    ++entries_[text].begun;
  }
  // Before the call: it may be served, and be on disk, before its answer is here.
  void Committing(uint32_t text) {
    base::MutexLock lock(&mutex_);
    Entry& entry = entries_[text];
    ++entry.changes;
    entry.committed = 0;
    entry.acknowledged = false;
    entry.possible.insert(entry.begun);
  }
  void Committed(uint32_t text) {
    base::MutexLock lock(&mutex_);
    ++entries_[text].changes;
    entries_[text].committed = entries_[text].begun;
  }
  void Evicting(uint32_t text) {
    base::MutexLock lock(&mutex_);
    Entry& entry = entries_[text];
    ++entry.changes;
    entry.committed = 0;
    entry.acknowledged = false;
    entry.possible.insert(0);
  }
  // A flush that began when the book read `before` has left nothing in memory only. Returns how
  // many objects that says something new about.
  uint64_t Flushed(const std::vector<Entry>& before) {
    base::MutexLock lock(&mutex_);
    uint64_t news = 0;
    for (uint32_t text = 0; text < kTexts; ++text) {
      Entry& entry = entries_[text];
      if (before[text].committed == 0 || entry.changes != before[text].changes) continue;
      news += entry.acknowledged ? 0 : 1;
      entry.acknowledged = true;
      entry.possible = {entry.committed};
    }
    return news;
  }
  void AnyMayBeGone() {
    base::MutexLock lock(&mutex_);
    for (Entry& entry : entries_) {
      entry.acknowledged = false;
      entry.possible.insert(0);
    }
  }
  void FoundAfterKill(uint32_t text, uint32_t version) {
    base::MutexLock lock(&mutex_);
    Entry& entry = entries_[text];
    ++entry.changes;
    entry.committed = version;
    entry.acknowledged = version != 0;
    entry.possible = {version};
  }

 private:
  mutable base::Mutex mutex_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_) = std::vector<Entry>(kTexts);
};

}  // namespace cistern::cacheserver
