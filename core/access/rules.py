"""The rules of an access file: clients with their tokens and certificates, and what each of them may do."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from core.access.rights import MethodGroup, Right, Scope
from core.access.token_hashes import TokenHash
from core.routing.admission import TrafficLimits

NO_LIMITS = TrafficLimits()


@dataclass(frozen=True, slots=True)
class Grant:
    """Groups of methods, for models by names or patterns in which `*` stands for any text; for all without any."""

    groups: frozenset[MethodGroup]
    models: tuple[str, ...] = ()

    def covers(self, right: Right) -> bool:
        """Whether this is enough for a request."""
        if self.groups.isdisjoint(right.groups):
            return False
        if not self.models:
            return True
        return right.scope is Scope.ANY if right.model is None else self.has_model(right.model)

    def has_model(self, name: str) -> bool:
        """Whether a model is among those of this grant."""
        return not self.models or _pattern(self.models).fullmatch(name) is not None


@functools.lru_cache(1024)
def _pattern(models: tuple[str, ...]) -> re.Pattern[str]:
    texts = (".*".join(map(re.escape, re.split(r"\*+", one))) for one in models)
    return re.compile("|".join(f"(?:{one})" for one in texts), re.DOTALL)


@dataclass(frozen=True, slots=True)
class AccessClient:
    """One client of an access file: how it shows who it is, what it may do, and how much of it."""

    name: str
    grants: tuple[Grant, ...]
    tokens: tuple[TokenHash, ...] = ()
    certificates: frozenset[str] = frozenset()
    limits: TrafficLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class AccessRules:
    """An access file; `anyone` is what callers may do who show no token and no certificate, as all others may."""

    clients: tuple[AccessClient, ...] = ()
    anyone: tuple[Grant, ...] = ()
    by_certificate: dict[str, tuple[AccessClient, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for client in self.clients:
            for name in client.certificates:
                self.by_certificate[name] = (*self.by_certificate.get(name, ()), client)

    def of_certificate(self, names: Iterable[str]) -> tuple[AccessClient, ...]:
        """Return the clients that a certificate with these names belongs to."""
        found = (client for name in names for client in self.by_certificate.get(name, ()))
        return tuple(dict.fromkeys(found))
