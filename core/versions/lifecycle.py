"""The public states of a version, as GetModelStatus reports them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from core.errors import Code


class State(enum.IntEnum):
    """TensorFlow Serving's states, numbered as on the wire."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version's state, and why it failed if it did."""

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""
