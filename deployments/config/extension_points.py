"""Gives the parsers of configurations what installed packages register; each object is imported when it is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from core.config.extensions import BUILT_IN_COLLECTORS, BUILT_IN_KINDS, Extensions
from deployments.system.entry_points import ExtensionPoint, Registered, registered


class _Added(Mapping[str, Any]):
    """Built-in things and, behind them, what is made of registered objects."""

    def __init__(self, built_in: Mapping[str, Any], added: Registered, of: Callable[[Any], Any]) -> None:
        self._built_in = built_in
        self._added = added
        self._of = of

    def __getitem__(self, name: str) -> Any:
        return self._built_in[name] if name in self._built_in else self._of(self._added[name])

    def __iter__(self) -> Iterator[str]:
        yield from self._built_in
        yield from self._added

    def __len__(self) -> int:
        return len(self._built_in) + len(self._added)


def extensions() -> Extensions:
    """Return what configurations may name in this environment."""
    return Extensions(
        platforms=_Added(BUILT_IN_KINDS, registered(ExtensionPoint.PLATFORMS), lambda platform: platform.kind),
        version_policies=registered(ExtensionPoint.VERSION_POLICIES),
        log_collectors=_Added(BUILT_IN_COLLECTORS, registered(ExtensionPoint.LOG_COLLECTORS), lambda found: found),
        why_not=lambda point, name: registered(ExtensionPoint(point)).why_not(name),
    )


def source_problem(url: str) -> str:
    """Return why the source of a URL cannot be used; empty when it can, and for URLs of no registered source."""
    scheme, separator, _ = url.partition("://")
    why = registered(ExtensionPoint.SOURCES).why_not(scheme) if separator else ""
    return f"{url}: there is no source for {scheme}:// now: {why}" if why else ""
