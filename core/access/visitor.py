"""The decision about one caller: what it may do, and what it may see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from core.access.rights import STATES, STATUS, WHOLE_STATUS, MethodGroup, Right
from core.access.rules import AccessClient, Grant
from core.errors import LimitReached, PermissionDenied, Unauthenticated
from core.routing.table import NOTHING_IN_FORCE, ModelRoutes, RoutingTable
from core.versions.lifecycle import VersionStatus

LOCAL_ONLY: Final = (
    "This is answered on loopback addresses and UNIX sockets only, because no rule says who else may do it. "
    "Call from the server's own machine (inside its container, where it runs in one), without a proxy between; or "
    "name the caller in a file for --access_file; or start the server with --enable_remote_admin, which lets in "
    "everyone who reaches its ports."
)


class Sight(Protocol):
    """What a caller may see of models."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is hidden."""
        ...

    def shows(self, model: str) -> bool:
        """Whether the caller may know that there is this model."""
        ...

    def table(self, table: RoutingTable) -> RoutingTable:
        """Return a table with what the caller may see."""
        ...

    def statuses(self, model: str, entries: tuple[VersionStatus, ...]) -> tuple[VersionStatus, ...]:
        """Return the states of a model's versions as the caller may see them."""
        ...


class Visitor(Protocol):
    """A caller, as far as it is known who it is."""

    @property
    def name(self) -> str:
        """Who it is, in words for the audit log."""
        ...

    @property
    def clients(self) -> tuple[AccessClient, ...]:
        """The clients of the access file that it is."""
        ...

    @property
    def sight(self) -> Sight:
        """What it may see."""
        ...

    def require(self, right: Right) -> None:
        """Return where the caller may do this; raises Unauthenticated and PermissionDenied."""
        ...


class WholeSight:
    """Everything, as without an access file."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is hidden."""
        return True

    def shows(self, model: str) -> bool:
        """Whether the caller may know that there is this model."""
        del model
        return True

    def table(self, table: RoutingTable) -> RoutingTable:
        """Return a table with what the caller may see."""
        return table

    def statuses(self, model: str, entries: tuple[VersionStatus, ...]) -> tuple[VersionStatus, ...]:
        """Return the states of a model's versions as the caller may see them."""
        del model
        return entries


EVERYTHING: Final = WholeSight()


@dataclass(frozen=True, slots=True)
class LimitedSight:
    """What grants let a caller see: models by their right to states, and texts by their right to status."""

    grants: tuple[Grant, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is hidden."""
        return self._has(WHOLE_STATUS)

    def _has(self, right: Right) -> bool:
        return any(one.covers(right) for one in self.grants)

    def shows(self, model: str) -> bool:
        """Whether the caller may know that there is this model."""
        return self._has(STATES.of(model))

    def table(self, table: RoutingTable) -> RoutingTable:
        """Return a table with what the caller may see."""
        if self.is_whole:
            return table
        models = {name: self._model(name, one) for name, one in table.models.items() if self.shows(name)}
        awaited = frozenset(one for one in table.awaited if one.name in models)
        return replace(table, models=models, in_force=NOTHING_IN_FORCE, awaited=awaited)

    def _model(self, name: str, model: ModelRoutes) -> ModelRoutes:
        if self._has(STATUS.of(name)):
            return model
        return replace(
            model,
            statuses=self.statuses(name, model.statuses),
            problem="",
            ignored={},
            waiting={},
            histories={number: replace(one, failure=None) for number, one in model.histories.items()},
            base_path="",
            logging=(),
            delivery=model.delivery.without_texts(),
            signature_changes=(),
            plan=model.plan.without_addresses() if model.plan is not None else None,
        )

    def statuses(self, model: str, entries: tuple[VersionStatus, ...]) -> tuple[VersionStatus, ...]:
        """Return the states of a model's versions as the caller may see them."""
        if self._has(STATUS.of(model)):
            return entries
        return tuple(replace(one, message="") for one in entries)


@dataclass(frozen=True, slots=True)
class RuledVisitor:
    """A caller under the rules of an access file; `problem` says what is wrong with the token that it shows.

    `unknown`: why its token could not be verified at present, so that it may do what anyone may.
    """

    clients: tuple[AccessClient, ...]
    anyone: tuple[Grant, ...]
    problem: str = ""
    unknown: LimitReached | None = None

    @property
    def name(self) -> str:
        """Who it is: its names in the access file."""
        names = ", ".join(one.name for one in self.clients)
        return f"client {names}" if names else "a request without a token"

    @property
    def grants(self) -> tuple[Grant, ...]:
        """Everything that the caller may do."""
        return (*self.anyone, *(grant for client in self.clients for grant in client.grants))

    @property
    def sight(self) -> Sight:
        """What the caller may see."""
        return LimitedSight(self.grants)

    def require(self, right: Right) -> None:
        """Return where the caller may do this; raises Unauthenticated, PermissionDenied and LimitReached."""
        if any(one.covers(right) for one in self.anyone):
            return
        if self.unknown is not None:
            raise self.unknown
        if self.problem:
            raise Unauthenticated(self.problem)
        if any(grant.covers(right) for client in self.clients for grant in client.grants):
            return
        what = _described(right)
        if not self.clients:
            raise Unauthenticated(f"{what} needs a token: send `authorization: Bearer TOKEN` or `x-api-key: TOKEN`.")
        names = ", ".join(one.name for one in self.clients)
        raise PermissionDenied(f"{what} is not allowed to {names}.")


def _described(right: Right) -> str:
    """Return the beginning of a sentence about a right; whether the model exists is not said."""
    group = next((one for one in right.groups if one is not MethodGroup.ADMIN), right.groups[0])
    of = "" if right.model is None else f" for model {right.model!a}"
    return f"A request of the group {group.value}{of}"


STRANGER: Final = RuledVisitor((), ())
"""A caller that need not be known, because its request needs no right; it sees nothing."""


@dataclass(frozen=True, slots=True)
class UnruledVisitor:
    """A caller of a server without an access file: it may do everything, our own changes only if it is local."""

    is_local: bool

    @property
    def name(self) -> str:
        """Who it is: all that is known is whether it is on this machine."""
        return "a request from this machine" if self.is_local else "a request"

    @property
    def clients(self) -> tuple[AccessClient, ...]:
        """The clients of the access file that it is: there is no file."""
        return ()

    @property
    def sight(self) -> Sight:
        """What the caller may see: everything."""
        return EVERYTHING

    def require(self, right: Right) -> None:
        """Return where the caller may do this; raises PermissionDenied."""
        if right.is_own_admin and not self.is_local:
            raise PermissionDenied(LOCAL_ONLY)
