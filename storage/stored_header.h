// An object's header as it is kept in memory: base::ObjectHeader without what it shares with other
// objects, and without what follows from the rest.
//
//   ObjectHeader ─► form (shared: kind, model, tenant, ...) + keys + words   ─► ObjectHeader
//
// There are millions of these (README.md, "Cost"). The words are one array in the forms' pool: the
// token ids, and behind them the previous state of a checkpoint (4 words; none when it is zero), or
// the size of a blob (2 words).
//
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/container/node_hash_map.h"

#include "base/key.h"
#include "base/model_spec.h"
#include "base/object.h"
#include "storage/word_pool.h"

namespace cistern::storage {

// What all objects of one kind of one model and tenant have in common.
struct ObjectForm {
  base::ObjectKind kind = base::ObjectKind::kSegment;
  base::RotaryEncoding encoding = base::RotaryEncoding::kUnrotated;
  base::RotaryArithmetic arithmetic = base::RotaryArithmetic::kFp32Table;
  base::Lineage lineage = base::Lineage::kExact;
  base::LogTails tails = base::LogTails::kEnd;
  uint32_t pool = 0;  // of its blocks
  uint32_t rule = 0;  // of its tenant, by index
  base::Key model;
  uint64_t tenant = 0;
  uint64_t block_bytes = 1;               // of its pool
  const base::ModelSpec* spec = nullptr;  // null for a blob; outlives the form
  WordPool* words = nullptr;              // of the table that it is in

  friend bool operator==(const ObjectForm&, const ObjectForm&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ObjectForm& form) {
    return H::combine(std::move(h), form.model, form.tenant, form.kind, form.encoding,
                      form.arithmetic, form.lineage, form.tails);
  }
};

// Of this header; its pool, rule and model spec are the caller's to fill in, the words the table's.
ObjectForm FormOf(const base::ObjectHeader& header);

// Each form once, as long as an object has it, and the words of the headers.
class FormTable {
 public:
  FormTable() = default;
  FormTable(const FormTable&) = delete;
  FormTable& operator=(const FormTable&) = delete;

  // One that is equal; it stays until it has been given back as often as it was taken.
  const ObjectForm* Take(const ObjectForm& form);
  void Give(const ObjectForm* form);
  size_t size() const { return forms_.size(); }
  const WordPool& words() const { return words_; }

 private:
  WordPool words_;
  absl::node_hash_map<ObjectForm, uint64_t> forms_;  // how often it is taken
};

struct StoredHeader {
  StoredHeader() = default;
  // `shared`, of a FormTable, agrees with `header` and outlives this one.
  StoredHeader(const base::ObjectHeader& header, const ObjectForm* shared);
  StoredHeader(StoredHeader&& other) noexcept { Swap(other); }
  StoredHeader& operator=(StoredHeader&& other) noexcept {
    Swap(other);
    return *this;
  }
  ~StoredHeader() {
    if (words_ != kNoWords) form()->words->Give(words_);
  }

  base::Key content;
  base::Key context;
  base::Key parent_context;
  uint32_t base_position = 0;

  // Null: it is no object's.
  const ObjectForm* form() const {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): it came from a pointer
    return reinterpret_cast<const ObjectForm*>(packed_ & kFormMask);
  }
  base::ObjectKind kind() const { return form()->kind; }
  const base::Key& model() const { return form()->model; }
  uint64_t tenant() const { return form()->tenant; }
  base::Lineage lineage() const { return form()->lineage; }
  base::LogTails tails() const { return form()->tails; }
  uint32_t num_tokens() const { return static_cast<uint32_t>(packed_ >> kFormBits); }
  std::span<const base::TokenId> tokens() const {
    return {form()->words->At(words_), num_tokens()};
  }
  base::Key previous_state() const;
  uint64_t blob_bytes() const;
  uint64_t payload_bytes() const;
  uint32_t num_blocks() const;

  base::ObjectHead Head() const;
  // As it was given; no bytes of a blob in anything else.
  base::ObjectHeader Full() const;
  friend bool operator==(const StoredHeader& stored, const base::ObjectHeader& header);

 private:
  static constexpr int kFormBits = 48;  // of an address that a process may have
  static constexpr uint64_t kHasPreviousState = 1;
  static constexpr uint64_t kFormMask = (uint64_t{1} << kFormBits) - 1 - kHasPreviousState;

  void Swap(StoredHeader& other) noexcept;
  bool has_previous_state() const { return (packed_ & kHasPreviousState) != 0; }
  const uint32_t* behind_tokens() const { return form()->words->At(words_) + num_tokens(); }

  WordsRef words_ = kNoWords;
  // The form's address, which is even; in its lowest bit whether the words have a previous state,
  // above it the number of tokens.
  uint64_t packed_ = 0;
};
static_assert(sizeof(StoredHeader) == 64);

}  // namespace cistern::storage
