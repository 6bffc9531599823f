// Which instruction set the fast forms run on here: "AVX3", "AVX2", "SSE4", ... as Highway names
// them. Chosen once per process, at the first call of a kernel.
#pragma once

namespace cistern::kernels {

const char* CpuTarget();

}  // namespace cistern::kernels
