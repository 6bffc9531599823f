// One case in three forms: each works on all sequences once, on states of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tools/bench/states/states_case.h"
#include "tools/bench/states/states_work.h"

namespace cistern::tools {

class StateForm {
 public:
  virtual ~StateForm() = default;
  virtual void Run() = 0;
  // Of a sequence, after the first Run: its state, and all answers (none: a fold).
  virtual const float* State(uint32_t sequence) = 0;
  virtual const float* Answers(uint32_t sequence) = 0;
};

enum class FormKind : uint8_t { kOurs, kSteps, kRing };

// `start` [sequences] is never written by a fold; decodes and verifies work on a copy.
std::unique_ptr<StateForm> MakeForm(FormKind kind, const StatesCase& c, uint32_t sequences,
                                    StateRegion& start, const TokenRegion& tokens);

}  // namespace cistern::tools
