// Passing errors on in one line. Abseil of Debian 12 has no status macros of its own.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define CISTERN_CONCAT_(a, b) a##b
#define CISTERN_CONCAT(a, b) CISTERN_CONCAT_(a, b)

// Returns from the enclosing function when `expr` (an absl::Status) is not OK.
#define CISTERN_RETURN_IF_ERROR(expr)                                   \
  do {                                                                  \
    if (absl::Status cistern_status_ = (expr); !cistern_status_.ok()) { \
      return cistern_status_;                                           \
    }                                                                   \
  } while (false)

// `lhs` takes the value of `expr` (an absl::StatusOr), or the enclosing function returns its error.
// NOLINTBEGIN(bugprone-macro-parentheses): `lhs` may be a declaration.
#define CISTERN_ASSIGN_OR_RETURN(lhs, expr) \
  CISTERN_ASSIGN_OR_RETURN_(CISTERN_CONCAT(cistern_or_, __LINE__), lhs, expr)
#define CISTERN_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return std::move(tmp).status();  \
  lhs = *std::move(tmp)
// NOLINTEND(bugprone-macro-parentheses)
