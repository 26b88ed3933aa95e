"""Lets callers in, or refuses them: what every door asks before it answers.

A guard finds out who calls (`visitor`), and counts what limited clients have in work (`admitted`). What the caller may
do and see is decided by the visitor.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Protocol

from core.access.credentials import is_forwarded, presented_token
from core.access.rules import AccessClient, AccessRules
from core.access.token_book import FoundToken, TokenBook
from core.access.token_hashes import KEY_BYTES
from core.access.visitor import EVERYTHING, RuledVisitor, Sight, UnruledVisitor, Visitor
from core.config.server_settings import FrontDoorSettings
from core.errors import LimitReached, Problem, ServingError, Unauthenticated
from core.routing.admission import Admission, Refusal
from core.telemetry.metric_names import ACCESS_REFUSALS
from deployments.access.followed_rules import FollowedRules
from deployments.access.peer import Peer
from deployments.access.slow_hashes import SlowHashes
from deployments.config.certificates import asks_for_certificates
from deployments.telemetry.process_metrics import METRICS

Fields = Iterable[tuple[bytes, bytes]]

SIGHT: ContextVar[Sight] = ContextVar("sight", default=EVERYTHING)
"""What the caller of the present request may see."""

CALLER: ContextVar[str] = ContextVar("caller", default="a request")
"""Who sent the present request, in words for the audit log."""


class Guard(Protocol):
    """What doors ask."""

    is_ruled: bool
    """Whether there is an access file, so that every request needs a right."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the newest access file."""
        ...

    def known_visitor(self, fields: Fields, peer: Peer) -> Visitor | None:
        """Return who calls, without waiting; None where that is not possible."""
        ...

    def quick_visitor(self, fields: Fields, peer: Peer) -> Visitor | None:
        """Return who calls, without waiting; None where that is not possible, or the call must be counted."""
        ...

    async def visitor(self, fields: Fields, peer: Peer) -> Visitor:
        """Return who calls; while too many tokens wait to be verified, a caller that may do what anyone may."""
        ...

    @contextmanager
    def admitted(self, visitor: Visitor, *, is_counted: bool = True) -> Iterator[None]:
        """Count a request as in work, and let its answer show what its caller may see; raises LimitReached."""
        ...


class LocalGuard:
    """The guard of a server without an access file; `is_open`: our own changes are answered everywhere."""

    is_ruled = False
    problems: tuple[Problem, ...] = ()

    def __init__(self, *, is_open: bool = False) -> None:
        self._is_open = is_open

    def known_visitor(self, fields: Fields, peer: Peer) -> Visitor:
        return UnruledVisitor(self._is_open or (peer.is_local and not is_forwarded(fields)))

    def quick_visitor(self, fields: Fields, peer: Peer) -> Visitor:
        return self.known_visitor(fields, peer)

    async def visitor(self, fields: Fields, peer: Peer) -> Visitor:
        return self.known_visitor(fields, peer)

    @contextmanager
    def admitted(self, visitor: Visitor, *, is_counted: bool = True) -> Iterator[None]:
        del is_counted
        before = CALLER.set(visitor.name)
        try:
            yield
        finally:
            CALLER.reset(before)


class RuledGuard:
    """The guard of a server with an access file; used on one event loop. `routers` share the limits of a client."""

    is_ruled = True

    def __init__(self, followed: FollowedRules, routers: Callable[[], int] = lambda: 1) -> None:
        self._followed = followed
        self._routers = routers
        self._sharing = max(1, routers())
        self._key = secrets.token_bytes(KEY_BYTES)
        self._rules: AccessRules = followed.rules
        self._book = TokenBook(self._rules, self._key)
        self._slow = SlowHashes()
        self._admissions: dict[str, Admission] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self._followed.problems

    def _present(self) -> tuple[AccessRules, TokenBook]:
        rules, sharing = self._followed.rules, max(1, self._routers())
        if rules is not self._rules:
            self._rules, self._book = rules, TokenBook(rules, self._key, self._book)
            self._adjust(sharing)
        elif sharing != self._sharing:
            self._adjust(sharing)
        return rules, self._book

    def _adjust(self, sharing: int) -> None:
        """Give clients their new limits, of which each router has its part; what they have in work stays counted."""
        self._sharing = sharing
        limits = {one.name: one.limits.share(sharing) for one in self._rules.clients}
        now_s = time.monotonic()
        for name in tuple(self._admissions):
            if name in limits:
                self._admissions[name].change(limits[name], now_s)
            elif not self._admissions[name].in_flight:
                del self._admissions[name]

    def known_visitor(self, fields: Fields, peer: Peer) -> Visitor | None:
        rules, book = self._present()
        _, found = _found(book, fields)
        return None if found.unverified else _visitor(rules, found, peer)

    def quick_visitor(self, fields: Fields, peer: Peer) -> Visitor | None:
        known = self.known_visitor(fields, peer)
        return None if known is None or any(one.limits for one in known.clients) else known

    async def visitor(self, fields: Fields, peer: Peer) -> Visitor:
        rules, book = self._present()
        token, found = _found(book, fields)
        if found.unverified:
            try:
                fit = await self._slow.fitting(token, found.unverified)
            except LimitReached as error:
                return replace(_visitor(rules, FoundToken(), peer), unknown=error)
            book.note(token, fit)
            if fit is not None:
                self._book.note(token, fit)  # the rules may be others by now
            found = book.find(token, time.time())
        return _visitor(rules, found, peer)

    @contextmanager
    def admitted(self, visitor: Visitor, *, is_counted: bool = True) -> Iterator[None]:
        with ExitStack() as entered:
            entered.callback(SIGHT.reset, SIGHT.set(visitor.sight))
            entered.callback(CALLER.reset, CALLER.set(visitor.name))
            for client in visitor.clients:
                if is_counted and client.limits:
                    entered.callback(self._admit(client).ended)
            yield

    def _admit(self, client: AccessClient) -> Admission:
        now_s = time.monotonic()
        admission = self._admissions.get(client.name)
        if admission is None:
            admission = self._admissions[client.name] = Admission(client.limits.share(self._sharing), now_s)
        refused = admission.admit(now_s)
        if refused is not None:
            raise LimitReached(_refusal_text(client, refused), refused.retry_after_s)
        return admission


def count_refusal(error: ServingError, visitor: Visitor | None) -> None:
    """Count a request that was not let in, for each client that its caller is."""
    names = [one.name for one in visitor.clients] if visitor is not None else []
    for name in names or [""]:
        METRICS.count(ACCESS_REFUSALS, name, error.code.name.lower())


def _found(book: TokenBook, fields: Fields) -> tuple[bytes, FoundToken]:
    """Return the token that a request shows, empty without one, and what is known of it."""
    try:
        token = presented_token(fields)
    except Unauthenticated as error:
        return b"", FoundToken(problem=str(error))
    return (b"", FoundToken()) if token is None else (token, book.find(token, time.time()))


def _visitor(rules: AccessRules, found: FoundToken, peer: Peer) -> RuledVisitor:
    shown = rules.of_certificate(peer.names) if peer.names else ()
    clients = shown if found.client is None else tuple(dict.fromkeys((found.client, *shown)))
    return RuledVisitor(clients, rules.anyone, found.problem)


def _refusal_text(client: AccessClient, refused: Refusal) -> str:
    again_s = max(1, math.ceil(refused.retry_after_s))
    return f"{client.name} has reached its limit ({refused.limit.value}); try again in {again_s} s."


def guard_of(door: FrontDoorSettings, routers: Callable[[], int]) -> Guard:
    """Return the guard that the settings ask for; `routers` says how many there are at present.

    Raises ConfigError for an SSLConfig file that cannot be read.
    """
    if door.access_file:
        followed = FollowedRules(door.access_file, asks_for_certificates=asks_for_certificates(door))
        return RuledGuard(followed, routers)
    return LocalGuard(is_open=door.remote_admin)
