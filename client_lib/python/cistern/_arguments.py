"""Which argument of a call has the wrong type: looked for only after the native module has refused the call."""

from __future__ import annotations

import numbers
import operator
from typing import Any, Mapping, Tuple, Union


class _Unsigned:
    bits: int

    @classmethod
    def complaint(cls, value: Any) -> str:
        try:
            fits = 0 <= operator.index(value) < 1 << cls.bits
        except TypeError:
            fits = False
        return "" if fits else f"an integer from 0 to 2^{cls.bits} - 1"


class Count(_Unsigned):
    bits = 32


class Bytes(_Unsigned):
    bits = 64


class Number:
    """What converts to a float."""

    @staticmethod
    def complaint(value: Any) -> str:
        return "" if isinstance(value, numbers.Real) else "a number"


class Secret:
    """Bytes that no message shows, whatever is given in their place."""

    @staticmethod
    def complaint(value: Any) -> str:
        return "" if isinstance(value, bytes) else "a bytes"


class Range:
    """(begin, end)."""

    @staticmethod
    def complaint(value: Any) -> str:
        try:
            fits = len(value) == 2 and not any(Count.complaint(one) for one in value)
        except TypeError:
            fits = False
        return "" if fits else "a pair (begin, end) of integers from 0 to 2^32 - 1"


Wanted = Union[type, Tuple[type, ...]]


def _complaint(value: Any, wanted: Wanted) -> str:
    if isinstance(wanted, type) and hasattr(wanted, "complaint"):
        return wanted.complaint(value)
    if isinstance(value, wanted):
        return ""
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    return " or ".join("None" if kind is type(None) else "a " + _name(kind) for kind in kinds)


def _name(kind: type) -> str:
    return "cistern." + kind.__name__ if kind.__module__.startswith("cistern") else kind.__name__


def named(error: TypeError, given: Mapping[str, Tuple[Any, Wanted]]) -> TypeError:
    """What to raise instead of `error`: a TypeError that names the first argument that is not what is wanted.

    given: {argument: (value, what it has to be)}. `error` itself where all of them are. Shows short values, but of a Secret.
    """
    for argument, (value, wanted) in given.items():
        complaint = _complaint(value, wanted)
        if complaint:
            shown = f" {value!r}" if wanted is not Secret and isinstance(value, (int, float, str)) else ""
            return TypeError(f"{argument} is a {_name(type(value))}{shown}, not {complaint}")
    return error
