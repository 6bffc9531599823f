// What the recording worker process and the test that reads behind it agree on.
#pragma once

#include <cstdint>
#include <vector>

#include "base/model_presets.h"
#include "base/model_spec.h"
#include "tests/unit/client_lib/client_fixture.h"
#include "tests/unit/client_lib/state_sequence.h"

namespace cistern::testing {

inline constexpr uint32_t kRecorded = 60;   // tokens flushed, 20 at a time
inline constexpr uint32_t kAppended = 7;    // tokens behind them that are not
inline constexpr uint32_t kSequence = 300;  // tokens of which rows are shared

// NoPE rows, like Kimi Linear's, and a small state.
inline base::ModelSpec RecordedModel() {
  base::ModelSpec model = SmallModel();
  model.name = "recorded";
  model.rotary.style = base::RotaryStyle::kNone;
  model.state = SmallState(base::StateFamily::kGatedDelta);
  return model;
}

inline Tokens RecordedTokens() { return RandomTokens(kSequence, 11); }

}  // namespace cistern::testing
