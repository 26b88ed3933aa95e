"""The type of a command-line flag; `flag_table` lists TensorFlow Serving's flags, `own_flags` those of this server."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class FlagKind(enum.Enum):
    """Type of a flag's value, as the usage text names it."""

    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT = "float"
    STRING = "string"


class Treatment(enum.Enum):
    """Whether a flag is honoured, has no effect, or is refused."""

    HONOURED = "honoured"
    WITHOUT_EFFECT = "accepted without effect"
    REFUSED = "refused"


Value = bool | int | float | str
"""Value of a flag."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    `target` is the field of ServerSettings that it fills, as `group.field`, after `convert`; empty where
    `core.config.arguments` computes the field or no field is to be filled. `remark` says why the flag has no effect, or
    what to use instead.
    """

    name: str
    kind: FlagKind
    default: Value
    help: str
    target: str = ""
    convert: Callable[[Any], Any] | None = None
    treatment: Treatment = Treatment.HONOURED
    remark: str = ""


def not_negative(value: float) -> float:
    """Return the value, or 0 for a negative one."""
    return max(value, 0)
