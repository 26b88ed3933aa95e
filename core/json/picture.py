"""The picture of a JSON value inside an error text: pretty, and cut soon after 256 bytes (RapidJSON's PrettyWriter).

A picture is not always valid JSON: it ends where the limit is reached, or where NaN or infinity would have to stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from core.json.strings import quote, raw_bytes, text_of
from core.json.values import JsonObject, Value

LIMIT_BYTES = 256
INDENT = b"    "
LARGEST_PLAIN_EXPONENT = 21
SMALLEST_PLAIN_EXPONENT = -6


class _EndOfDumpError(Exception):
    """The picture ends here."""


@dataclass(slots=True)
class _Level:
    """An open container: the members still to be written, and the number of those that were."""

    names: Iterator[str] | None
    values: Iterator[Value]
    count: int = 0


class _Dump:
    __slots__ = ("levels", "out")

    def __init__(self) -> None:
        self.out = bytearray()
        self.levels: list[_Level] = []

    def put(self, token: bytes) -> None:
        self.out += token
        if len(self.out) >= LIMIT_BYTES:
            raise _EndOfDumpError

    def value(self, prefix: bytes, value: Value) -> None:
        """Write a scalar, or open a container."""
        if isinstance(value, JsonObject):
            self.put(prefix + b"{")
            self.levels.append(_Level(iter(value.names), iter(value.values)))
        elif isinstance(value, list):
            self.put(prefix + b"[")
            self.levels.append(_Level(None, iter(value)))
        else:
            self.out += prefix
            self.put(_scalar(value))

    def step(self) -> None:
        """Write the next value of the innermost container, or close it."""
        level = self.levels[-1]
        for value in level.values:
            comma = b"," if level.count else b""
            level.count += 1
            if level.names is None:
                self.value(b", " if comma else b"", value)
                return
            self.put(comma + b"\n" + INDENT * len(self.levels) + quote(raw_bytes(next(level.names))))
            self.value(b": ", value)
            return
        self.close(level)

    def close(self, level: _Level) -> None:
        self.levels.pop()
        if level.names is None:
            self.put(b"]")
        else:
            self.put((b"\n" + INDENT * len(self.levels) if level.count else b"") + b"}")


def dump(value: Value) -> str:
    """Picture a value for an error text."""
    writer = _Dump()
    try:
        writer.value(b"", value)
        while writer.levels:
            writer.step()
    except _EndOfDumpError:
        pass
    return text_of(bytes(writer.out))


def complaint(value: Value, rule: str) -> str:
    """Phrase an error about a value."""
    return f"JSON Value: {dump(value)} {rule}"


def _scalar(value: float | str | None) -> bytes:
    if isinstance(value, str):
        return quote(raw_bytes(value))
    if isinstance(value, float):
        return _double(value)
    if value is None:
        return b"null"
    return str(value).lower().encode()


def _double(number: float) -> bytes:
    """Write a double with the digits of its shortest form, placed as RapidJSON places them."""
    if not math.isfinite(number):
        raise _EndOfDumpError
    if number == 0:
        return b"-0.0" if math.copysign(1, number) < 0 else b"0.0"
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    point = len(whole) - leading + int(exponent or 0)
    sign = "-" if number < 0 else ""
    return (sign + _place(digits.rstrip("0"), point)).encode()


def _place(digits: str, point: int) -> str:
    """Set the decimal point after `point` digits, or write an exponent."""
    if len(digits) <= point <= LARGEST_PLAIN_EXPONENT:
        return digits.ljust(point, "0") + ".0"
    if 0 < point <= LARGEST_PLAIN_EXPONENT:
        return f"{digits[:point]}.{digits[point:]}"
    if SMALLEST_PLAIN_EXPONENT < point <= 0:
        return f"0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{tail}e{point - 1}"
