"""What a configuration may name that is not built into it: platforms, and what further packages register.

`deployments.config.extension_points` finds those of installed packages; the parsers only need to know the names, and of
a platform the files that show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class PlatformKind:
    """A kind of models: its name (TensorFlow Serving's `model_platform`) and the files of which a version needs one."""

    name: str
    files: tuple[str, ...] = ()


SAVED_MODEL_FILES: Final = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")

TENSORFLOW: Final = PlatformKind("tensorflow", (*SAVED_MODEL_FILES, "model.tflite"))
"""A SavedModel, or a TensorFlow Lite model where that is preferred or alone, as in TensorFlow Serving."""

TFLITE: Final = PlatformKind("tflite", ("model.tflite",))
ONNX: Final = PlatformKind("onnx", ("model.onnx",))
PYTHON: Final = PlatformKind("python", ("model.py",))
BUILT_IN_KINDS: Final[Mapping[str, PlatformKind]] = MappingProxyType(
    {kind.name: kind for kind in (TENSORFLOW, TFLITE, ONNX, PYTHON)}
)


def any_of(kinds: Iterable[PlatformKind]) -> PlatformKind:
    """Return the kind of a model whose versions show by their files what they are."""
    return PlatformKind("any", tuple(dict.fromkeys(file for kind in kinds for file in kind.files)))


ANY: Final = any_of(BUILT_IN_KINDS.values())
"""Whatever the files of a version show: the platform of a model of which nothing else is said."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """What configurations may name; a platform by its name.

    `is_open`: names of platforms that are not known are taken, too, by a reader that only shows them.
    """

    platforms: Mapping[str, PlatformKind] = field(default_factory=lambda: BUILT_IN_KINDS)
    is_open: bool = False

    def platform(self, name: str) -> PlatformKind | None:
        """Return the kind of models that a configuration names; None for an unknown name."""
        if name == ANY.name:
            return any_of(self.platforms.values())
        return self.platforms.get(name) or (PlatformKind(name) if self.is_open else None)


BUILT_IN: Final = Extensions()
OPEN: Final = Extensions(is_open=True)

_PACKAGE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_LIBRARY_ENDINGS: Final = (".so", ".dylib", ".dll")


def op_library_problem(entry: str) -> str | None:
    """Return what is wrong with an entry of `op_libraries`: an absolute path, or the name of an installed package."""
    if (entry.startswith("/") and "\0" not in entry) or (
        _PACKAGE.fullmatch(entry) and not entry.endswith(_LIBRARY_ENDINGS)
    ):
        return None
    return f"must be the absolute path of a library, or the name of an installed package; was {entry!r}"
