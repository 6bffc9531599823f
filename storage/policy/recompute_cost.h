// What it would cost to compute an object again.
//
// Thread   any
#pragma once

#include "base/model_spec.h"
#include "base/object.h"

namespace cistern::storage {

// FLOPs to compute a segment again at its depth: what the model spec says, or tokens x (1 + depth /
// 32768) of a nominal model. `spec` may be null (a blob: as much as that many bytes of a nominal
// model's rows).
double RecomputeFlops(const base::ObjectHeader& header, const base::ModelSpec* spec);

}  // namespace cistern::storage
