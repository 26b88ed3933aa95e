"""The watcher's hosted versions: follows the hosts of all nodes, and asks them to load and unload.

A host that dies is replaced by Serve and then has no versions: those that were loaded through here are loaded again,
and until then count as being deployed, so that calls wait for them as they do for a replica that is replaced. A node
that is lost takes its versions along; they are loaded on another one. What a former watcher had loaded is known from
the answers of the hosts alone; when it is lost, `core.versions.reconcile` loads it like any version that disappeared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ray.exceptions import RayTaskError

from core.errors import Code, ConfigError
from core.versions.hosted import (
    LASTING,
    Answers,
    Placed,
    node_for,
    observed_versions,
    to_be_loaded,
    to_be_unloaded,
)
from core.versions.load_report import LoadFailed
from core.versions.servable import app_name
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.system.clock import Clock
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

log = logging.getLogger(__name__)

PATIENCE_S = 0.2
"""How long a tick waits for answers of hosts; later ones are taken by a later tick."""

LAST_METRICS_PATIENCE_S = 2.0
ASKED_EVERY_S = 1.0
"""Pause between two questions to a host in which nothing moves."""

HEARD_LATELY_S = 30.0
"""A host that has not answered for so long is not asked for last metrics: each such question takes its whole time."""

NODES_EVERY_S = 2.0
SILENT_AFTER_S = 15.0
"""A host that has not answered for so long may have failed to start, or be gone: Serve knows."""

UNUSED_AFTER_S = 600.0
"""A host without versions for so long is removed; the next hosted version on its node waits for a new one."""


class VersionHosts(Protocol):
    """The version hosts of a cluster, one application for each node that has one."""

    def nodes(self) -> frozenset[str]:
        """Return the ids of the nodes that are alive."""

    def conditions(self) -> dict[str, tuple[Condition, str]]:
        """Return the host applications by node, each with Serve's text; costs milliseconds."""

    def start(self, node: str) -> None:
        """Submit the host application of a node and return at once."""

    def stop(self, node: str) -> None:
        """Delete the host application of a node and return at once."""

    def ask(self, node: str, method: str, *arguments: Any) -> Future[Any]:
        """Begin a call to a host; the future raises what the host raised, or that it did not answer."""


@dataclass(slots=True)
class _Host:
    """A host: its last answer and when it came, the question that is open, and when it had a version last.

    `silent_s` is since when it has not answered, or Serve has not said why.
    """

    silent_s: float
    used_s: float
    versions: Mapping[str, AppObservation] | None = None
    answered_s: float = 0.0
    question: Future[Any] | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether to ask again: at once while a version comes or goes."""
        if self.question is not None:
            return False
        rests = self.versions is not None and all(one.condition in LASTING for one in self.versions.values())
        return not rests or now_s - self.answered_s >= ASKED_EVERY_S


class HostedVersions:
    """All hosted versions of the cluster, on one thread; `take_metrics` gets the last ones of versions that end."""

    def __init__(self, hosts: VersionHosts, clock: Clock, take_metrics: Callable[[list[bytes]], None]) -> None:
        self._cluster = hosts
        self._clock = clock
        self._take_metrics = take_metrics
        self._hosts: dict[str, _Host] = {}
        self._placed: dict[str, Placed] = {}
        self._specs: dict[str, ServableSpec] = {}
        self._loading: dict[str, Future[Any]] = {}
        self._adopted = False
        self._nodes_due_s = 0.0
        self._nodes: frozenset[str] = frozenset()

    @property
    def _answers(self) -> Answers:
        return {node: host.versions for node, host in self._hosts.items()}

    def observe(self, own: Mapping[str, AppObservation]) -> Mapping[str, AppObservation]:
        """Return the hosted versions as applications, beside those that have their own; without hosts, for nothing."""
        now_s = self._clock.steady_s()
        self._adopt(now_s)
        if not self._hosts and not self._placed:
            return {}
        self._follow_nodes(now_s)
        self._ask(now_s)
        self._repair(own)
        self._remove_unused(now_s)
        return {app: one for app, one in observed_versions(self._answers, self._placed).items() if app not in own}

    def _adopt(self, now_s: float) -> None:
        """Find the hosts of a former watcher, once."""
        if not self._adopted:
            self._hosts = {node: _Host(now_s, now_s) for node in self._cluster.conditions()}
            self._adopted = True

    def _follow_nodes(self, now_s: float) -> None:
        """Let go of hosts on nodes that are lost, and place their versions elsewhere."""
        if now_s < self._nodes_due_s:
            return
        self._nodes_due_s = now_s + NODES_EVERY_S
        self._nodes = self._cluster.nodes()
        for node in self._hosts.keys() - self._nodes:
            log.warning("host_lost node=%s versions=%d", node, len(self._hosts[node].versions or ()))
            del self._hosts[node]
            self._cluster.stop(node)
        for app, place in self._placed.items():
            if place.node not in self._hosts and not place.refusal:
                self._place(app)

    def _place(self, app: str) -> None:
        others = {other: place for other, place in self._placed.items() if other != app}
        node = node_for(self._nodes, self._answers, others)
        if node not in self._hosts:
            log.info("host_deployed node=%s", node)
            self._cluster.start(node)
            self._hosts[node] = _Host(self._clock.steady_s(), self._clock.steady_s())
        self._placed[app] = Placed(node)

    def _ask(self, now_s: float) -> None:
        """Ask all hosts that are due for their versions, and take what is answered in time."""
        asked = {node: self._cluster.ask(node, "versions") for node, host in self._hosts.items() if host.is_due(now_s)}
        wait(asked.values(), PATIENCE_S)
        for node, host in tuple(self._hosts.items()):
            host.question = asked.get(node, host.question)
            if host.question is not None and host.question.done():
                self._take(node, host, host.question)
            if now_s - host.silent_s > SILENT_AFTER_S:
                self._look_at_silent(node, host, now_s)

    def _take(self, node: str, host: _Host, answer: Future[Any]) -> None:
        host.question = None
        try:
            host.versions = answer.result()
        except SERVE_FAILURES as error:
            log.info("host_does_not_answer node=%s error=%r", node, brief(error))
            return
        host.answered_s = host.silent_s = self._clock.steady_s()

    def _look_at_silent(self, node: str, host: _Host, now_s: float) -> None:
        """Give up a host that failed to start, or is gone: what was placed there fails, and is placed anew."""
        host.silent_s = now_s
        condition, message = self._cluster.conditions().get(node, (Condition.ABSENT, "The host is gone."))
        if condition not in {Condition.FAILED, Condition.ABSENT, Condition.DELETING}:
            return
        log.warning("host_failed node=%s message=%s", node, message)
        del self._hosts[node]
        for app, place in self._placed.items():
            if place.node == node:
                self._placed[app] = replace(place, refusal=message or "The host could not be started.")

    def _repair(self, own: Mapping[str, AppObservation]) -> None:
        """Load what a host lacks, and unload what runs elsewhere too: in an own application, or in another host."""
        for app in tuple(to_be_loaded(self._answers, self._placed)):
            self._load(app)
        wait(self._loading.values(), PATIENCE_S)
        self._take_refusals()
        for app in own.keys() & self._placed.keys():
            self._forget(app)
        for node, app in tuple(to_be_unloaded(self._answers, self._placed, own)):
            log.info("hosted_copy_unloaded app=%s node=%s", app, node)
            self._cluster.ask(node, "unload", app)

    def _load(self, app: str) -> None:
        if app not in self._loading:
            self._loading[app] = self._cluster.ask(self._placed[app].node, "load", self._specs[app])

    def _take_refusals(self) -> None:
        for app, asked in tuple(self._loading.items()):
            if not asked.done():
                continue
            del self._loading[app]
            error = asked.exception()
            if isinstance(error, RayTaskError):
                error = error.cause
            if isinstance(error, ConfigError) and app in self._placed:
                refusal = str(LoadFailed(Code.INVALID_ARGUMENT, f"The deployment was refused: {error}"))
                self._placed[app] = replace(self._placed[app], refusal=refusal)

    def _remove_unused(self, now_s: float) -> None:
        used = {place.node for place in self._placed.values()}
        for node, host in tuple(self._hosts.items()):
            if host.versions is None or host.versions or node in used:
                host.used_s = now_s
            elif now_s - host.used_s > UNUSED_AFTER_S:
                log.info("host_unused node=%s", node)
                del self._hosts[node]
                self._cluster.stop(node)

    def load(self, spec: ServableSpec) -> None:
        """Place a version, and ask its host to load it; one whose host is still starting is loaded once it answers."""
        app = app_name(spec.servable)
        self._specs[app] = spec
        if self._clock.steady_s() >= self._nodes_due_s:
            self._nodes = self._cluster.nodes()
        self._place(app)
        if self._hosts[self._placed[app].node].versions is not None:
            self._load(app)

    def has(self, app: str) -> bool:
        """Whether a version is hosted, or placed to be."""
        return app in self._placed or any(app in (host.versions or ()) for host in self._hosts.values())

    def unload(self, app: str) -> None:
        """Let a version end wherever it is, after its last metrics were taken."""
        self._forget(app)
        heard_s = self._clock.steady_s() - HEARD_LATELY_S
        for node, host in self._hosts.items():
            seen = (host.versions or {}).get(app)
            if seen is None and app not in self._loading:
                continue
            if seen is not None and seen.condition is Condition.RUNNING and host.answered_s > heard_s:
                self._take_last_metrics(node, app)
            self._cluster.ask(node, "unload", app)
        self._loading.pop(app, None)

    def _forget(self, app: str) -> None:
        self._placed.pop(app, None)
        self._specs.pop(app, None)

    def _take_last_metrics(self, node: str, app: str) -> None:
        asked = self._cluster.ask(node, "metrics", app)
        try:
            self._take_metrics([asked.result(LAST_METRICS_PATIENCE_S)])
        except SERVE_FAILURES as error:
            log.info("last_metrics_missed app=%s error=%r", app, brief(error))
