"""What a configuration may name that is not built into it: platforms, version policies, log collectors.

`deployments.config.extension_points` finds those of installed packages; the parsers need little of them: of a platform
the files that show it, of a policy what makes it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final


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
"""What the files of a version show, as far as it is built in: the platform of a model of which nothing else is said.

Registered platforms are named, because their files are known only after their code was imported.
"""

BUILT_IN_POLICIES: Final = frozenset({"latest", "all", "specific"})
"""The version policies of TensorFlow Serving, which have a syntax of their own."""


class LogFormat(enum.Enum):
    """How the built-in request logs are written; the value is the ending of their files' names."""

    TF_RECORD = "tfrecord"
    JSON_LINES = "jsonl"


LOG_FORMATS: Final[Mapping[str, LogFormat]] = MappingProxyType(
    {"": LogFormat.TF_RECORD, "tf_record": LogFormat.TF_RECORD, "json_lines": LogFormat.JSON_LINES}
)
"""The types of log collectors that write files (LogCollectorConfig.type)."""


CLOUD_EVENTS: Final = "cloudevents"
"""The type of the log collector that sends events to an HTTP sink."""

BUILT_IN_COLLECTORS: Final[Mapping[str, object]] = MappingProxyType({**LOG_FORMATS, CLOUD_EVENTS: CLOUD_EVENTS})
"""The types of log collectors that no package adds."""


def _nothing_registered(_: str, __: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Extensions:
    """What configurations may name; a platform, a maker of version policies or a log collector by its name.

    Asking one of the mappings for a name may import a package, going through its names does not. `why_not` says, for an
    entry point and a name, why something that is registered cannot be used; it is empty for all others. `is_open`:
    names of platforms and collectors that are not known are taken, too, by a reader that only shows them.
    """

    platforms: Mapping[str, PlatformKind] = field(default_factory=lambda: BUILT_IN_KINDS)
    is_open: bool = False
    version_policies: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    log_collectors: Mapping[str, Any] = field(default_factory=lambda: BUILT_IN_COLLECTORS)
    why_not: Callable[[str, str], str] = _nothing_registered

    def platform(self, name: str) -> PlatformKind | None:
        """Return the kind of models that a configuration names; None for an unknown name."""
        if name == ANY.name:
            return ANY
        return self.platforms.get(name) or (PlatformKind(name) if self.is_open else None)

    def reason(self, point: str, name: str) -> str:
        """Return the end of an error text that says why a registered name cannot be used; empty for an unknown name."""
        why = self.why_not(point, name)
        return f": {why}" if why else ""


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
