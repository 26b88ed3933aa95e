"""A JSON document as plain values: the result of both parsers.

Strings are `str` with `surrogateescape`; integers that fit 64 bits are `int`, all other numbers are `float`; objects
keep their members in order and with repetitions, because the first of two equal keys counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from core.json.strings import decode_base64

Value: TypeAlias = "bool | int | float | str | list[Value] | JsonObject | None"


class JsonObject:
    """An object of a document: the names of its members as written, and their values beside them."""

    __slots__ = ("names", "values")

    def __init__(self, names: list[str], values: list[Value]) -> None:
        self.names = names
        self.values = values

    def members(self) -> Iterator[tuple[str, Value]]:
        """Yield names with values, repetitions included."""
        return zip(self.names, self.values, strict=True)

    def first_values(self) -> dict[str, Value]:
        """Return the values by name; of equal names the first."""
        return dict(zip(reversed(self.names), reversed(self.values), strict=True))


def is_base64(value: Value) -> bool:
    """Whether a value is binary: an object whose only member is a string named `b64`."""
    return isinstance(value, JsonObject) and value.names == ["b64"] and isinstance(value.values[0], str)


def base64_bytes(value: JsonObject) -> bytes:
    """Decode a binary value."""
    return decode_base64(str(value.values[0]))


def type_name(value: Value) -> str:
    """Name the JSON type as error texts do."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, (int, float)):
        return "Number"
    if isinstance(value, str):
        return "String"
    return "Array" if isinstance(value, list) else "Object"
