"""What installed packages register under the entry points of this server.

The groups are `ray_model_server.platforms`, `.sources`, `.log_collectors` and `.version_policies`. The names are read
from the packages' metadata; an object is imported when it is asked for, so that a server whose configuration names
none of them runs no code of theirs.
"""

from __future__ import annotations

import enum
import functools
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any, Final

from core.config.extensions import ANY, BUILT_IN_COLLECTORS, BUILT_IN_KINDS, BUILT_IN_POLICIES, PlatformKind

log = logging.getLogger(__name__)

GROUP: Final = "ray_model_server."


class ExtensionPoint(enum.Enum):
    """A place where packages add to this server; the value is the end of the group's name."""

    PLATFORMS = "platforms"
    SOURCES = "sources"
    LOG_COLLECTORS = "log_collectors"
    VERSION_POLICIES = "version_policies"


def _platform_mistake(name: str, found: Any) -> str:
    """Return what an object lacks to be a platform."""
    kind = getattr(found, "kind", None)
    if not isinstance(kind, PlatformKind):
        return "its kind is not a PlatformKind"
    if kind.name != name:
        return f"its kind has the name {kind.name}"
    if not kind.files or not all(isinstance(file, str) and file for file in kind.files):
        return "its kind names no files"
    lacking = [method for method in ("estimate", "load") if not callable(getattr(found, method, None))]
    return f"it has no {' and no '.join(lacking)}" if lacking else ""


def _call_mistake(_: str, found: Any) -> str:
    """Return what an object lacks to be a class or function."""
    return "" if callable(found) else "it cannot be called"


def _schemes_of_fsspec() -> Collection[str]:
    import fsspec  # noqa: PLC0415 - only where sources are registered

    return frozenset(fsspec.available_protocols())


_MISTAKE: Final[Mapping[ExtensionPoint, Callable[[str, Any], str]]] = {
    ExtensionPoint.PLATFORMS: _platform_mistake,
    ExtensionPoint.SOURCES: _call_mistake,
    ExtensionPoint.LOG_COLLECTORS: _call_mistake,
    ExtensionPoint.VERSION_POLICIES: _call_mistake,
}
_BUILT_IN: Final[Mapping[ExtensionPoint, Callable[[], Collection[str]]]] = {
    ExtensionPoint.PLATFORMS: lambda: {*BUILT_IN_KINDS, ANY.name},
    ExtensionPoint.SOURCES: _schemes_of_fsspec,
    ExtensionPoint.LOG_COLLECTORS: lambda: BUILT_IN_COLLECTORS,
    ExtensionPoint.VERSION_POLICIES: lambda: BUILT_IN_POLICIES,
}


class Registered(Mapping[str, Any]):
    """What is registered at one point, by name; one that is broken is not there, and `why_not` says why.

    Iterating gives the names, also of broken ones, and imports nothing. Safe for several threads.
    """

    def __init__(
        self, point: ExtensionPoint, entries: Iterable[metadata.EntryPoint], built_in: Collection[str] = ()
    ) -> None:
        self._point = point
        self._entries: dict[str, list[metadata.EntryPoint]] = {}
        self._found: dict[str, Any] = {}
        self._reasons: dict[str, str] = {}
        self._lock = threading.RLock()
        for one in entries:
            if one.name in built_in:
                self._say(one.name, f"{_package(one)} registers it, and it is built in")
            else:
                self._entries.setdefault(one.name, []).append(one)

    def __getitem__(self, name: str) -> Any:
        with self._lock:
            if name in self._entries and name not in self._found and name not in self._reasons:
                self._import(name, self._entries[name])
            return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def packages(self, name: str) -> str:
        """Return the packages that register a name, with their versions."""
        return " and ".join(_package(one) for one in self._entries[name])

    def why_not(self, name: str) -> str:
        """Return why a name that is registered cannot be used; empty for one that can, and for an unknown name."""
        return "" if name in self else self._reasons.get(name, "")

    def _import(self, name: str, entries: list[metadata.EntryPoint]) -> None:
        if len({one.value for one in entries}) > 1:
            self._refuse(name, f"{self.packages(name)} both register it; uninstall one of them")
            return
        first = entries[0]
        registered = f"{_package(first)} registers it as {first.value}"
        try:
            found = first.load()
        except (Exception, SystemExit) as error:
            log.exception("extension_not_imported point=%s name=%s value=%s", self._point.value, name, first.value)
            self._refuse(name, f"{registered}, which cannot be imported: {type(error).__name__}: {error}")
            return
        mistake = _MISTAKE[self._point](name, found)
        if mistake:
            self._refuse(name, f"{registered}, which does not fit: {mistake}")
            return
        self._found[name] = found
        log.info("extension_used point=%s name=%s package=%r", self._point.value, name, _package(first))

    def _refuse(self, name: str, reason: str) -> None:
        self._reasons[name] = reason
        self._say(name, reason)

    def _say(self, name: str, reason: str) -> None:
        log.warning("extension_left_out point=%s name=%s reason=%r", self._point.value, name, reason)


@functools.cache
def registered(point: ExtensionPoint) -> Registered:
    """Return what is registered at a point; built-in names cannot be taken."""
    entries = _entries(point)
    return Registered(point, entries, _BUILT_IN[point]() if entries else ())


def _entries(point: ExtensionPoint) -> list[metadata.EntryPoint]:
    try:
        return sorted(metadata.entry_points(group=f"{GROUP}{point.value}"), key=lambda one: (one.name, _package(one)))
    except Exception:
        log.exception("extensions_unreadable point=%s", point.value)
        return []


def registered_names() -> Iterator[str]:
    """Yield a line for each extension that is installed, whether it works or not."""
    for point in ExtensionPoint:
        found = registered(point)
        yield from (f"{point.value} {name}: {found.packages(name)}" for name in found)


def _package(entry: metadata.EntryPoint) -> str:
    return f"package {entry.dist.name} {entry.dist.version}" if entry.dist is not None else "a package"
