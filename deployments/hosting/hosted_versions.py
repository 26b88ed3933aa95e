"""The watcher's hosted versions: follows the hosts of all nodes, and asks them to load and unload.

A host that dies is replaced by Serve and then has no versions: those that were loaded through here are loaded again,
and until then count as being deployed, so that calls wait for them as they do for a replica that is replaced. A node
that is lost takes its versions along; they are loaded on another one. What a former watcher had loaded is known from
the answers of the hosts alone; when it is lost, `core.versions.reconcile` loads it like any version that disappeared.

A host that a new watcher finds may answer late, or be replaced just then, while its versions answer requests. Until it
has answered, the versions that the table in force leads to count as being there, and no other is loaded: it might be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any, Protocol

from core.errors import Code, ConfigError
from core.versions.hosted import (
    UNDECIDED,
    Answers,
    FailedNodes,
    Placed,
    node_for,
    node_of_host,
    node_with,
    observed_versions,
    to_be_loaded,
    to_be_unloaded,
    usable_nodes,
)
from core.versions.load_report import LoadFailed
from core.versions.servable import app_name
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.hosting.followed_host import SILENT_AFTER_S, CallErrors, FollowedHost, raised_in_host
from deployments.system.clock import Clock
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

log = logging.getLogger(__name__)

PATIENCE_S = 0.2
"""How long a tick waits for answers of hosts: it must not hold up other models."""

LAST_METRICS_PATIENCE_S = 2.0

HEARD_LATELY_S = 30.0
"""A host that has not answered for so long is not asked for last metrics: each such question takes its whole time."""

NODES_EVERY_S = 2.0

STARTS_WITHIN_S = 120.0
"""A host that has not answered for so long since it was submitted is given up while another node is there: on a node
whose disk is full, Ray tries for ever to start a process."""

UNUSED_AFTER_S = 600.0
"""A host without versions for so long is removed; the next hosted version on its node waits for a new one."""


class VersionHosts(Protocol):
    """The version hosts of a cluster, one application for each node that has one."""

    def nodes(self) -> Mapping[str, float]:
        """Return the nodes that are alive by id, with the CPUs that Ray has of each."""

    def conditions(self) -> dict[str, tuple[Condition, str]]:
        """Return the host applications by node, each with Serve's text; costs milliseconds."""

    def start(self, node: str) -> None:
        """Submit the host application of a node and return at once."""

    def stop(self, node: str) -> None:
        """Delete the host application of a node and return at once."""

    def ask(self, node: str, method: str, *arguments: Any) -> Future[Any]:
        """Begin a call to a host; the future raises what the host raised, or that it did not answer."""


class HostedVersions:
    """All hosted versions of the cluster, on one thread; `take_metrics` gets the last ones of versions that end.

    `patience_s` is how long a look waits for answers of hosts; later ones are taken by a later look.
    """

    def __init__(
        self,
        hosts: VersionHosts,
        clock: Clock,
        take_metrics: Callable[[list[bytes]], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._cluster = hosts
        self._clock = clock
        self._take_metrics = take_metrics
        self._patience_s = patience_s
        self._hosts: dict[str, FollowedHost] = {}
        self._placed: dict[str, Placed] = {}
        self._specs: dict[str, ServableSpec] = {}
        self._loading: dict[str, Future[Any]] = {}
        self._load_errors: dict[str, CallErrors] = {}
        self._failed_loads = RepeatedFailureLog("hosted_load_failed", "hosted_loads_work_again")
        self._routed: Mapping[str, str] = {}
        self._adopted = False
        self._nodes_due_s = 0.0
        self._nodes: Mapping[str, float] = {}
        self._failed_nodes = FailedNodes()

    @property
    def _answers(self) -> Answers:
        return {node: host.versions for node, host in self._hosts.items()}

    @property
    def _assumed(self) -> Mapping[str, str]:
        return {app: node for node, host in self._hosts.items() for app in host.assumed}

    def recall(self, hosts: Mapping[str, str]) -> None:
        """Take from the table in force which host application each hosted version has; before the first look."""
        self._routed = hosts

    def observe(self, own: Mapping[str, AppObservation]) -> Mapping[str, AppObservation]:
        """Return the hosted versions as applications, beside those that have their own; without hosts, for nothing."""
        now_s = self._clock.steady_s()
        self._adopt(now_s)
        if not self._hosts and not self._placed:
            return {}
        self._follow_nodes(now_s)
        self._ask(now_s)
        self._decide(now_s)
        self._repair(own, now_s)
        self._remove_unused(now_s)
        shown = observed_versions(self._answers, self._placed, self._assumed)
        return {app: one for app, one in shown.items() if app not in own}

    def _adopt(self, now_s: float) -> None:
        """Find the hosts of a former watcher, once; those that failed are of no use to anybody."""
        if self._adopted:
            return
        for node, (condition, message) in self._cluster.conditions().items():
            if condition is Condition.FAILED:
                self._give_up(node, message, now_s)
            elif condition in {Condition.DEPLOYING, Condition.RUNNING}:
                assumed = frozenset(app for app, host in self._routed.items() if node_of_host(host) == node)
                self._hosts[node] = FollowedHost(node, now_s, is_adopted=True, assumed=assumed)
        self._adopted = True

    def _follow_nodes(self, now_s: float) -> None:
        """Let go of hosts on nodes that are lost, and place their versions elsewhere."""
        if now_s < self._nodes_due_s:
            return
        self._nodes_due_s = now_s + NODES_EVERY_S
        self._nodes = self._cluster.nodes()
        for node in self._hosts.keys() - self._nodes.keys():
            log.warning("host_lost node=%s versions=%d", node, len(self._hosts[node].versions or ()))
            self._stop(node)
        for app, place in self._placed.items():
            if place.node != UNDECIDED and place.node not in self._hosts and not place.refusal:
                self._place(app, now_s)

    def _stop(self, node: str) -> None:
        """Delete a host application; where that fails the host stays known, so that it is tried again."""
        self._cluster.stop(node)
        self._hosts.pop(node, None)

    def _place(self, app: str, now_s: float) -> None:
        assumed = {other: Placed(node) for other, node in self._assumed.items()}
        others = assumed | {other: place for other, place in self._placed.items() if other != app}
        usable = usable_nodes(self._nodes, self._failed_nodes.left_out(now_s))
        node = node_with(app, self._answers) or node_for(usable, self._answers, others)
        if node not in self._hosts:
            log.info("host_deployed node=%s", node)
            self._cluster.start(node)
            self._hosts[node] = FollowedHost(node, now_s)
        self._placed[app] = Placed(node)

    def _decide(self, now_s: float) -> None:
        """Place the versions that had to wait for what hosts say, once one has them, or none can say so any more."""
        is_known = not self._has_unheard(now_s)
        for app, place in self._placed.items():
            if place.node == UNDECIDED and (is_known or node_with(app, self._answers)):
                self._place(app, now_s)

    def _has_unheard(self, now_s: float) -> bool:
        return any(host.is_unheard(now_s) for host in self._hosts.values())

    def _ask(self, now_s: float) -> None:
        """Ask all hosts that are due for their versions, and take what is answered in time."""
        asked = {node: self._cluster.ask(node, "versions") for node, host in self._hosts.items() if host.is_due(now_s)}
        for node, question in asked.items():
            self._hosts[node].question = question
        wait(asked.values(), self._patience_s)
        for node, host in tuple(self._hosts.items()):
            if host.take_answer(self._clock.steady_s()):
                self._failed_nodes.works(node)
            elif host.errors.lasting(now_s):
                self._fail_what_waits(node, host, now_s)
            elif now_s - host.silent_s > SILENT_AFTER_S:
                self._look_at_silent(node, host, now_s)

    def _look_at_silent(self, node: str, host: FollowedHost, now_s: float) -> None:
        """Give up a host that failed to start, or is gone."""
        condition, message = self._cluster.conditions().get(node, (Condition.ABSENT, "The host is gone."))
        never_started = host.versions is None and not host.assumed and now_s - host.since_s > STARTS_WITHIN_S
        is_stuck = never_started and self._has_others(node, now_s)
        if is_stuck or condition in {Condition.FAILED, Condition.ABSENT, Condition.DELETING}:
            self._give_up(node, message or "The host could not be started.", now_s)
        host.silent_s = now_s

    def _fail_what_waits(self, node: str, host: FollowedHost, now_s: float) -> None:
        """Give up a host that has only raised errors for long; one that has versions, or may have, keeps those."""
        reason = _cannot_load(host.errors.text)
        host.errors = CallErrors()
        if host.versions or host.assumed:
            self._move(node, reason, now_s)
        else:
            self._give_up(node, reason, now_s)

    def _give_up(self, node: str, reason: str, now_s: float) -> None:
        """Remove a host, so that the next attempt on its node starts another one."""
        log.warning("host_failed node=%s message=%s", node, reason)
        self._stop(node)
        self._move(node, reason, now_s)

    def _move(self, node: str, reason: str, now_s: float) -> None:
        """Place elsewhere what a failed host does not have; it fails where no other node is left."""
        self._failed_nodes.failed(node, now_s)
        has_others = self._has_others(node, now_s)
        kept = self._hosts[node].versions if node in self._hosts else None
        for app, place in self._placed.items():
            if place.node != node or place.refusal or app in (kept or ()):
                continue
            if has_others:
                self._place(app, now_s)
            else:
                self._placed[app] = replace(place, refusal=reason)

    def _has_others(self, node: str, now_s: float) -> bool:
        left_out = self._failed_nodes.left_out(now_s) | {node}
        return not usable_nodes(self._nodes, left_out) <= left_out

    def _repair(self, own: Mapping[str, AppObservation], now_s: float) -> None:
        """Load what a host lacks, and unload what runs elsewhere too: in an own application, or in another host."""
        for app in tuple(to_be_loaded(self._answers, self._placed)):
            self._load(app)
        wait(self._loading.values(), self._patience_s)
        self._take_refusals(now_s)
        for app in own.keys() & self._placed.keys():
            self._forget(app)
        for node, app in tuple(to_be_unloaded(self._answers, self._placed, own)):
            log.info("hosted_copy_unloaded app=%s node=%s", app, node)
            self._cluster.ask(node, "unload", app)

    def _load(self, app: str) -> None:
        if app not in self._loading:
            self._loading[app] = self._cluster.ask(self._placed[app].node, "load", self._specs[app])

    def _take_refusals(self, now_s: float) -> None:
        for app, asked in tuple(self._loading.items()):
            if not asked.done():
                continue
            del self._loading[app]
            error = asked.exception()
            if error is None:
                self._load_errors.pop(app, None)
                self._failed_loads.went_well(now_s)
            elif app in self._placed and (refusal := self._refusal(app, error, now_s)):
                self._placed[app] = replace(self._placed[app], refusal=refusal)

    def _refusal(self, app: str, error: BaseException, now_s: float) -> str:
        """Return why a version is not loaded; empty while another attempt may help."""
        raised = raised_in_host(error)
        if isinstance(raised, ConfigError):
            return str(LoadFailed(Code.INVALID_ARGUMENT, f"The deployment was refused: {raised}"))
        self._failed_loads.failed(now_s, raised or error)
        if raised is None:
            return ""
        errors = self._load_errors.setdefault(app, CallErrors())
        errors.add(raised, now_s)
        return _cannot_load(errors.text) if errors.lasting(now_s) else ""

    def _remove_unused(self, now_s: float) -> None:
        used = {place.node for place in self._placed.values()}
        for node, host in tuple(self._hosts.items()):
            if host.versions is None or host.versions or node in used:
                host.used_s = now_s
            elif now_s - host.used_s > UNUSED_AFTER_S:
                log.info("host_unused node=%s", node)
                self._stop(node)

    def load(self, spec: ServableSpec) -> None:
        """Place a version, and ask its host to load it; one whose host is still starting is loaded once it answers."""
        app, now_s = app_name(spec.servable), self._clock.steady_s()
        self._specs[app] = spec
        if now_s >= self._nodes_due_s:
            self._nodes = self._cluster.nodes()
        if self._has_unheard(now_s) and not node_with(app, self._answers):
            self._placed[app] = Placed(UNDECIDED)
            return
        self._place(app, now_s)
        if self._hosts[self._placed[app].node].versions is not None:
            self._load(app)

    def has(self, app: str) -> bool:
        """Whether a version is hosted, or placed to be."""
        return app in self._placed or any(host.may_run(app) for host in self._hosts.values())

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
        self._load_errors.pop(app, None)

    def _take_last_metrics(self, node: str, app: str) -> None:
        asked = self._cluster.ask(node, "metrics", app)
        try:
            self._take_metrics([asked.result(LAST_METRICS_PATIENCE_S)])
        except SERVE_FAILURES as error:
            log.info("last_metrics_missed app=%s error=%r", app, brief(error))


def _cannot_load(error: str) -> str:
    """Return the text of a load that failed by errors of the host alone."""
    return str(LoadFailed(Code.UNAVAILABLE, f"The version host of its node cannot load it: {error}"))
