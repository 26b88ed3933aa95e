"""Groups of methods, and what a request needs: the right to a group, for a model or for the server."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, NamedTuple


class MethodGroup(enum.Enum):
    """The groups of methods that an access file names; the values are its words."""

    INFER = "infer"
    """Run a model."""

    METADATA = "metadata"
    """Signatures, the states of versions without texts, reflection, the OpenAPI document."""

    STATUS = "status"
    """Everything about models and the server: states, error texts, paths, metrics."""

    HEALTH = "health"
    """Whether the server, or a model that is named, answers."""

    ADMIN = "admin"
    """Change what is served, record profiles, and TensorFlow's profiler service with its `Monitor`; includes status."""


class Scope(enum.Enum):
    """How many models a request that names none is about."""

    ANY = "any"
    """The right to one model is enough, or the answer is cut to what the caller may see."""

    WHOLE = "whole"
    """About all models: a right that is limited to some is not enough."""


class Right(NamedTuple):
    """What a request needs: one of these groups, for a model, or for none in particular.

    `is_own_admin`: one of this server's own methods that change it; TensorFlow Serving has none but its reload request.
    """

    groups: tuple[MethodGroup, ...]
    model: str | None = None
    scope: Scope = Scope.ANY
    is_own_admin: bool = False

    def of(self, model: str) -> Right:
        """Return the same right for a model."""
        return self._replace(model=model)


INFER: Final = Right((MethodGroup.INFER,))
METADATA: Final = Right((MethodGroup.METADATA,))
HEALTH: Final = Right((MethodGroup.HEALTH,))
STATUS: Final = Right((MethodGroup.STATUS, MethodGroup.ADMIN))
STATES: Final = Right((MethodGroup.STATUS, MethodGroup.ADMIN, MethodGroup.METADATA))
"""The states of versions; who has no right to status gets them without texts."""
WHOLE_STATUS: Final = STATUS._replace(scope=Scope.WHOLE)
RELOAD: Final = Right((MethodGroup.ADMIN,), scope=Scope.WHOLE)
"""TensorFlow Serving's own reload request."""
OWN_ADMIN: Final = Right((MethodGroup.ADMIN,), scope=Scope.WHOLE, is_own_admin=True)


def is_probe(rights: Iterable[Right]) -> bool:
    """Whether a request that needs these rights only asks for health; such count against no limit of a client."""
    return all(one.groups == HEALTH.groups for one in rights)
