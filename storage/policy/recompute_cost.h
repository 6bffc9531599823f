// What it would cost to compute an object again.
//
// Thread   any
#pragma once

#include "storage/stored_header.h"

namespace cistern::storage {

// FLOPs to compute a segment again at its depth: what the model spec says, or tokens x (1 + depth /
// 32768) of a nominal model. Of a blob: as much as that many bytes of a nominal model's rows.
//
// A state cannot be had from a state near by: without it a prompt is computed from where the next
// shallower one is, and nobody knows how near that will be when it is asked for. So a checkpoint
// stands for all that is before its last token: per-token and pair terms of the whole prompt. That
// is Marconi's score of a node (FLOPs that it saves per byte, MLSys 2025), with the beginning in
// place of the parent. A log makes the state at its end together with a checkpoint, and both are
// needed: of what the two save it has its share of their bytes, so that a byte of it is worth as
// much as one of the checkpoint at that depth would be if the pair were one object. A log of the
// first tokens needs no other: its share is all.
double RecomputeFlops(const StoredHeader& header);

}  // namespace cistern::storage
