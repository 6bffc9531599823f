// An object's header as it is kept in memory: base::ObjectHeader without what it shares with other
// objects, and without what follows from the rest.
//
//   ObjectHeader ─► form (shared: kind, model, tenant, ...) + keys + words   ─► ObjectHeader
//
// There are millions of these (README.md, "Cost"). The words are one array: the token ids, and
// behind them the previous state of a checkpoint (4 words; none when it is zero), or the size of a
// blob (2 words).
//
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/container/node_hash_map.h"

#include "base/key.h"
#include "base/model_spec.h"
#include "base/object.h"

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

  friend bool operator==(const ObjectForm&, const ObjectForm&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ObjectForm& form) {
    return H::combine(std::move(h), form.model, form.tenant, form.kind, form.encoding,
                      form.arithmetic, form.lineage, form.tails);
  }
};

// Of this header; its pool, rule and model spec are the caller's to fill in.
ObjectForm FormOf(const base::ObjectHeader& header);

// Each form once, as long as an object has it.
class FormTable {
 public:
  // One that is equal; it stays until it has been given back as often as it was taken.
  const ObjectForm* Take(const ObjectForm& form);
  void Give(const ObjectForm* form);
  size_t size() const { return forms_.size(); }

 private:
  absl::node_hash_map<ObjectForm, uint64_t> forms_;  // how often it is taken
};

struct StoredHeader {
  StoredHeader() = default;
  // `shared` agrees with `header` and outlives this one.
  StoredHeader(const base::ObjectHeader& header, const ObjectForm* shared);

  base::Key content;
  base::Key context;
  base::Key parent_context;
  const ObjectForm* form = nullptr;
  std::unique_ptr<uint32_t[]> words;
  uint32_t base_position = 0;
  uint16_t token_count = 0;
  bool has_previous_state = false;  // in the words

  base::ObjectKind kind() const { return form->kind; }
  const base::Key& model() const { return form->model; }
  uint64_t tenant() const { return form->tenant; }
  base::Lineage lineage() const { return form->lineage; }
  base::LogTails tails() const { return form->tails; }
  uint32_t num_tokens() const { return token_count; }
  std::span<const base::TokenId> tokens() const { return {words.get(), token_count}; }
  base::Key previous_state() const;
  uint64_t blob_bytes() const;
  uint64_t payload_bytes() const;
  uint32_t num_blocks() const;

  // As it was given; no bytes of a blob in anything else.
  base::ObjectHeader Full() const;
  friend bool operator==(const StoredHeader& stored, const base::ObjectHeader& header);
};

}  // namespace cistern::storage
