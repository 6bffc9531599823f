// States are checked against the whole past, at the price of the tokens that are new.
#include "tools/bench/state_oracle.h"

#include <numeric>

#include "gtest/gtest.h"

#include "tests/unit/tools/naive_state.h"

namespace cistern::tools {
namespace {

using Tokens = std::vector<base::TokenId>;

base::ModelSpec Model() {
  base::ModelSpec spec;
  spec.name = "test";
  spec.num_layers = 1;
  spec.state = SmallStates()[4];  // gated delta, two layers, a convolution of 3 + 1
  return spec;
}

uint64_t OneState() {
  const base::StateSpec spec = Model().state;
  return uint64_t{spec.num_layers} * spec.num_heads * spec.value_dim * spec.key_dim * 8;
}

// A worker's state, made by the naive recurrence.
struct State {
  std::vector<std::vector<std::byte>> temporal, conv;
  StateView view() {
    StateView view;
    for (auto& layer : temporal) view.temporal.push_back(layer.data());
    for (auto& layer : conv) view.conv.push_back(layer.data());
    return view;
  }
};

State StateBehind(const StateModel& model, const Tokens& tokens, uint32_t position) {
  const base::StateSpec& spec = model.spec();
  State state;
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    NaiveState naive(spec, nullptr);
    std::vector<std::byte> inputs(spec.input_bytes());
    std::vector<std::byte> rows(spec.conv_bytes() + position * spec.conv_row_bytes());
    for (uint32_t t = 0; t < position; ++t) {
      model.Inputs(tokens[t], layer, inputs.data());
      naive.Step(inputs.data());
      model.ConvRow(tokens[t], layer, &rows[spec.conv_bytes() + t * spec.conv_row_bytes()]);
    }
    state.temporal.push_back(naive.Bytes());
    state.conv.emplace_back(rows.end() - static_cast<int64_t>(spec.conv_bytes()), rows.end());
  }
  return state;
}

Tokens Numbers(uint32_t first, uint32_t count) {
  Tokens tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

Tokens operator+(Tokens head, const Tokens& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

class StateOracleTest : public testing::Test {
 protected:
  void ExpectRight(const Tokens& tokens, uint32_t position) {
    State state = StateBehind(model_, tokens, position);
    const StateCheck check = oracle_.Check(position, state.view());
    EXPECT_LT(check.relative_l2, 1e-7) << position;
    EXPECT_TRUE(check.conv_equal) << position;
  }

  const StateModel model_{Model()};
  StateOracle oracle_{model_, 4 * OneState()};
};

TEST_F(StateOracleTest, EveryPositionOfASequence) {
  const Tokens tokens = Numbers(10, 200);
  oracle_.Begin(tokens);
  for (const uint32_t position : {0u, 1u, 2u, 3u, 64u, 65u, 200u, 130u}) {
    ExpectRight(tokens, position);
  }
}

TEST_F(StateOracleTest, NoticesWhatIsWrong) {
  const Tokens tokens = Numbers(10, 100);
  oracle_.Begin(tokens);
  State state = StateBehind(model_, tokens, 100);
  State earlier = StateBehind(model_, tokens, 99);
  std::swap(state.temporal[1], earlier.temporal[1]);
  EXPECT_GT(oracle_.Check(100, state.view()).relative_l2, 1e-3);
  EXPECT_TRUE(oracle_.Check(100, state.view()).conv_equal);
  state.conv[1].back() ^= std::byte{1};
  EXPECT_FALSE(oracle_.Check(100, state.view()).conv_equal);
  Tokens swapped = tokens;
  std::swap(swapped[20], swapped[21]);
  EXPECT_GT(oracle_.Check(100, StateBehind(model_, swapped, 100).view()).relative_l2, 1e-4);
}

TEST_F(StateOracleTest, GoesOnFromWhatItKept) {
  const Tokens head = Numbers(10, 100);
  const Tokens one = head + Numbers(1000, 50), other = head + Numbers(2000, 50);
  oracle_.Begin(one);
  oracle_.Keep(100);
  oracle_.Keep(150);
  EXPECT_EQ(oracle_.steps(), 150u);
  oracle_.Begin(other);
  ExpectRight(other, 120);  // from 100
  EXPECT_EQ(oracle_.steps(), 170u);
  ExpectRight(other, 140);  // from where it is
  EXPECT_EQ(oracle_.steps(), 190u);
  oracle_.Begin(one + Numbers(3000, 10));
  ExpectRight(one + Numbers(3000, 10), 160);
  EXPECT_EQ(oracle_.steps(), 200u);
  oracle_.Keep(160);
  oracle_.Keep(160);
  EXPECT_EQ(oracle_.kept(), 3u);
}

TEST_F(StateOracleTest, WhatWasAskedForLongestAgoGoes) {
  const Tokens tokens = Numbers(10, 100);
  oracle_.Begin(tokens);
  for (const uint32_t position : {10u, 20u, 30u, 40u}) oracle_.Keep(position);
  EXPECT_EQ(oracle_.steps(), 40u);
  const Tokens branch = Numbers(10, 10) + Numbers(500, 5);
  oracle_.Begin(branch);
  ExpectRight(branch, 15);  // from 10, which is young again
  EXPECT_EQ(oracle_.steps(), 45u);
  oracle_.Keep(15);  // 20 goes
  EXPECT_EQ(oracle_.kept(), 4u);
  oracle_.Begin(tokens);
  ExpectRight(tokens, 20);
  EXPECT_EQ(oracle_.steps(), 55u);
}

TEST(StateOracleBoundTest, ThereIsRoomForOne) {
  const StateModel model(Model());
  StateOracle oracle(model, 1);
  oracle.Begin(Numbers(0, 20));
  oracle.Keep(5);
  oracle.Keep(9);
  EXPECT_EQ(oracle.kept(), 1u);
}

}  // namespace
}  // namespace cistern::tools
