// Headers as a store keeps them, for tests of its parts.
#pragma once

#include "base/object.h"
#include "storage/stored_header.h"

namespace cistern::storage {

class StoredHeaders {
 public:
  // `spec`: its model's, of anything but a blob.
  StoredHeader Of(const base::ObjectHeader& header, const base::ModelSpec* spec = nullptr,
                  uint32_t pool = 0, uint32_t rule = 0, uint64_t block_bytes = 1) {
    ObjectForm form = FormOf(header);
    form.pool = pool;
    form.rule = rule;
    form.block_bytes = block_bytes;
    form.spec = spec;
    return StoredHeader(header, forms.Take(form));
  }

  FormTable forms;
};

}  // namespace cistern::storage
