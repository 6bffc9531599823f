// An error leaves the function at once, and a value is moved, not copied.
#include "base/status_macros.h"

#include <memory>

#include "gtest/gtest.h"

namespace cistern::base {
namespace {

absl::StatusOr<std::unique_ptr<int>> Make(int value) {
  if (value < 0) return absl::ResourceExhaustedError("below zero");
  return std::make_unique<int>(value);
}

absl::Status Check(int value) {
  return value > 100 ? absl::InvalidArgumentError("above 100") : absl::OkStatus();
}

absl::StatusOr<int> Sum(int a, int b, int* steps) {
  CISTERN_ASSIGN_OR_RETURN(const std::unique_ptr<int> x, Make(a));
  ++*steps;
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<int> y, Make(b));
  ++*steps;
  CISTERN_RETURN_IF_ERROR(Check(*x + *y));
  ++*steps;
  return *x + *y;
}

TEST(StatusMacrosTest, ValuesPassAndErrorsReturn) {
  int steps = 0;
  EXPECT_EQ(Sum(1, 2, &steps).value(), 3);
  EXPECT_EQ(steps, 3);
  steps = 0;
  EXPECT_EQ(Sum(-1, 2, &steps).status(), absl::ResourceExhaustedError("below zero"));
  EXPECT_EQ(steps, 0);
  EXPECT_EQ(Sum(1, -2, &steps).status(), absl::ResourceExhaustedError("below zero"));
  EXPECT_EQ(steps, 1);
  steps = 0;
  EXPECT_EQ(Sum(100, 1, &steps).status(), absl::InvalidArgumentError("above 100"));
  EXPECT_EQ(steps, 2);
}

}  // namespace
}  // namespace cistern::base
