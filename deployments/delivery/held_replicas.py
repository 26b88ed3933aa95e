"""Which versions keep their replicas while a rollout runs, although their load would let some go.

A stable version that has given half of its requests away must be able to take them back in one moment, and a canary
that nobody calls yet must be there when its first share comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from core.config.model_config import ModelConfig, ModelResources
from core.versions.servable import ServableId, app_name
from core.versions.world import Delivered

TOLD_EVERY_S = 5.0
HELD_FOR_S = 20.0
"""So long replicas hold without being told again: a watcher that ends takes no replicas with it."""


class HeldReplicas:
    """Says when replicas are to be told."""

    def __init__(self) -> None:
        self._due_s = 0.0
        self._told: frozenset[str] = frozenset()

    def due(
        self, models: Iterable[ModelConfig], delivered: Mapping[str, Delivered], now_s: float
    ) -> frozenset[str] | None:
        """Return the applications to be told now, none once the last one is let go; None while nothing is due."""
        if not (delivered or self._told) or now_s < self._due_s:
            return None
        self._due_s = now_s + TOLD_EVERY_S
        scaled = {one.name for one in models if one.resources.autoscaling is not None} if delivered else set()
        apps = frozenset(app for name in scaled & delivered.keys() for app in _apps(name, delivered[name]))
        before, self._told = self._told, apps
        return apps if apps or before else None


def resources_of(config: ModelConfig, version: int, delivered: Delivered) -> ModelResources:
    """Return the resources to load a version with: a canary has a replica from its first moment."""
    scaling = config.resources.autoscaling
    if scaling is None or version != delivered.record.canary or scaling.min_replicas:
        return config.resources
    first = replace(scaling, initial_replicas=max(1, scaling.initial_replicas or 0))
    return replace(config.resources, autoscaling=first)


def _apps(name: str, delivered: Delivered) -> Iterable[str]:
    """Return the applications of both arms; without a canary and a way back nothing is held."""
    record = delivered.record
    versions = {record.stable, record.canary, record.previous} - {0}
    return (app_name(ServableId(name, one)) for one in versions) if record.canary or record.previous else ()
