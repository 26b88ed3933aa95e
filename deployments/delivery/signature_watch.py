"""Compares the signatures of a version that comes with those of the version that it replaces, for every model.

Callers notice a renamed input only when the new version has all of their traffic; so it is said as soon as both run.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from core.routing.table import Route, RoutingTable
from core.telemetry.log_lines import audited
from core.versions.lifecycle import State
from core.versions.record import VersionRecord
from core.versions.world import Records
from deployments.delivery.model_sights import TickLook

log = logging.getLogger(__name__)

TOLD_WITHIN_S = 30.0
"""Versions that do not tell their signatures for so long cannot be compared, which holds up no rollout."""

COMES = frozenset({State.START, State.LOADING, State.AVAILABLE})


class Signatures(Protocol):
    """Asks running versions in the background (`deployments.delivery.asked_signatures`)."""

    def problems(self, old: Route, new: Route) -> tuple[str, ...] | None:
        """Return what callers of the old version would notice of the new one; None while one has not answered yet."""

    def outputs(self, route: Route) -> frozenset[str]:
        """Return the names of a version's outputs; none while it has not answered yet."""

    def keep(self, routes: Collection[Route]) -> None:
        """Forget all versions but these."""


@dataclass(slots=True)
class _Pair:
    """Two versions of a model that are to be compared, with their routes as soon as there are any."""

    old: int
    new: int
    old_route: Route | None = None
    new_route: Route | None = None
    since_s: float | None = None
    found: tuple[str, ...] | None = None
    outputs: frozenset[str] = frozenset()


class SignatureWatch:
    """The comparisons of all models; without `signatures` nothing is asked, and nothing differs."""

    def __init__(self, signatures: Signatures | None = None) -> None:
        self._signatures = signatures
        self._pairs: dict[str, _Pair] = {}
        self._changes: dict[str, tuple[str, ...]] = {}
        self._seen: tuple[Records, RoutingTable] | None = None
        self._open = False

    def adopt(self, table: RoutingTable) -> None:
        """Continue with what a former watcher found."""
        self._changes = {
            name: model.signature_changes for name, model in table.models.items() if model.signature_changes
        }

    def problems(self, model: str, stable: int, canary: int, look: TickLook) -> tuple[str, ...] | None:
        """Return how a canary's signatures differ from stable's; None until that is known, or without a canary."""
        if not (stable and canary):
            return None
        if self._signatures is None:
            return ()
        pair = self._pairs.get(model)
        if pair is None or (pair.old, pair.new) != (stable, canary):
            pair = self._pairs[model] = _Pair(stable, canary)
            self._compare(model, pair, look)
            self._open = True
        return pair.found

    def outputs(self, model: str, stable: int, canary: int) -> frozenset[str]:
        """Return the names of a canary's outputs; none where they are not known."""
        pair = self._pairs.get(model)
        return frozenset() if pair is None or (pair.old, pair.new) != (stable, canary) else pair.outputs

    def follow(self, look: TickLook) -> Mapping[str, tuple[str, ...]]:
        """Compare what can be compared now; returns how each model's newest version differs, where it does."""
        if self._signatures is None:
            return {}
        seen = look.records, look.table
        is_same = self._seen is not None and all(one is two for one, two in zip(seen, self._seen, strict=True))
        if is_same and not self._open:
            return self._changes
        if not is_same:
            self._seen = seen
            self._find_pairs(look)
        for name, pair in self._pairs.items():
            self._compare(name, pair, look)
        self._open = any(one.found is None for one in self._pairs.values())
        asked = (one for one in self._pairs.values() if one.found is None)
        routes = [route for one in asked for route in (one.old_route, one.new_route)]
        self._signatures.keep([one for one in routes if one is not None])
        return dict(self._changes)

    def _find_pairs(self, look: TickLook) -> None:
        """Find the models of which a version comes while another one answers, and forget the others."""
        found: dict[str, list[VersionRecord]] = {}
        for servable, record in look.records.items():
            if record.aspired and record.state in COMES:
                found.setdefault(servable.name, []).append(record)
        for name in (self._pairs.keys() | self._changes.keys()) - found.keys():
            self._pairs.pop(name, None)
            self._changes.pop(name, None)
        for name, coming in found.items():
            known = self._pairs.get(name)
            newest = max(one.servable.version for one in coming)
            if known is not None and known.new in {one.servable.version for one in coming}:
                continue
            self._pairs.pop(name, None)
            answering = [version for version in look.routes(name).routes if version < newest]
            if answering:
                self._pairs[name] = _Pair(max(answering), newest)

    def _compare(self, name: str, pair: _Pair, look: TickLook) -> None:
        """Compare two versions if both have told their signatures; the old one is asked before it may go."""
        signatures, routes = self._signatures, look.routes(name).routes
        if pair.found is not None or signatures is None:
            return
        pair.old_route = routes.get(pair.old, pair.old_route)
        pair.new_route = routes.get(pair.new, pair.new_route)
        if pair.old_route is None:
            return
        if pair.new_route is None:
            signatures.problems(pair.old_route, pair.old_route)
            return
        pair.since_s = look.now_s if pair.since_s is None else pair.since_s
        pair.found = signatures.problems(pair.old_route, pair.new_route)
        if pair.found is not None:
            pair.outputs = signatures.outputs(pair.new_route)
            self._note(name, pair, pair.found)
        elif look.now_s - pair.since_s > TOLD_WITHIN_S:
            log.warning("signatures_not_compared model=%s old=%d new=%d", name, pair.old, pair.new)
            pair.found = ()

    def _note(self, name: str, pair: _Pair, found: tuple[str, ...]) -> None:
        if found:
            self._changes[name] = found
            line = "signatures_differ model=%s old=%d new=%d differences=%s"
            log.warning(line, name, pair.old, pair.new, "; ".join(found), extra=audited())
        else:
            self._changes.pop(name, None)
