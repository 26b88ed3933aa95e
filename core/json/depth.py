"""How deeply a JSON text is nested, by its brackets alone: no parser has to follow it there."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from core.errors import InvalidArgument
from core.inference.giving_up import go_on

MOST_LEVELS: Final = 256
"""Deeper requests are refused (TensorFlow Serving 2.22)."""
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string that does not end takes all that follows."""
_LOWER_CASE: Final = 0x20
"""The bit that makes a curly bracket of a square one."""
_OPENING, _CLOSING = ord("{"), ord("}")


def require_shallow(text: bytes) -> None:
    """Raise InvalidArgument for a request that is nested too deeply."""
    if is_deeper(text):
        raise InvalidArgument(f"the request JSON is nested deeper than {MOST_LEVELS} levels")


def is_deeper(text: bytes, levels: int = MOST_LEVELS) -> bool:
    """Whether lists and objects are nested in more levels than these; of what is not JSON, as far as it shows."""
    if len(text) <= levels or text.count(b"[") + text.count(b"{") <= levels:
        return False
    if _depth(text) <= levels:
        return False
    go_on()
    return _depth(_STRING.sub(b"", text)) > levels


def _depth(text: bytes) -> int:
    """Return the greatest number of brackets that are open at once, those in strings included."""
    folded = np.frombuffer(text, np.uint8) | _LOWER_CASE
    places = np.flatnonzero((folded == _OPENING) | (folded == _CLOSING))
    steps = np.where(folded[places] == _OPENING, 1, -1)
    return int(np.cumsum(steps).max(initial=0))
