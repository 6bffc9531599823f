"""What calls raise: one class for each code that the library answers.

After any of these a worker computes; a cache is never the reason that inference stops.
"""

from __future__ import annotations

__all__ = [
    "Error",
    "Aborted",
    "Cancelled",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "Unavailable",
    "Unimplemented",
]


class Error(Exception):
    """The base of all. `code`: as in absl::StatusCode and cistern.h."""

    code = 2


class Cancelled(Error):
    code = 1


class InvalidArgument(Error, ValueError):
    """Fix the call."""

    code = 3


class DeadlineExceeded(Error, TimeoutError):
    """The node is too slow: compute."""

    code = 4


class NotFound(Error, LookupError):
    code = 5


class PermissionDenied(Error, PermissionError):
    code = 7


class ResourceExhausted(Error):
    """Back off."""

    code = 8


class FailedPrecondition(Error):
    code = 9


class Aborted(Error):
    code = 10


class Unimplemented(Error, NotImplementedError):
    code = 12


class Internal(Error):
    code = 13


class Unavailable(Error, ConnectionError):
    """No node: compute."""

    code = 14


class DataLoss(Error):
    code = 15


_BY_CODE = {cls.code: cls for cls in Error.__subclasses__()}


def of_status(code: int, message: str) -> Error:
    """The exception for a status; used by the native module."""
    error = _BY_CODE.get(code, Error)(message)
    error.code = code
    return error
