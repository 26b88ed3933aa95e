"""Version hosts in memory: nodes that are lost, hosts that start, die and are replaced, versions that load and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from ray.exceptions import RayTaskError

from core.errors import ConfigError, Problem
from core.versions.load_report import LoadFailed
from core.versions.servable import app_name
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition

LOST = "this host does not answer"


class FakeVersionHost:
    """One host; its methods are those of `deployments.hosting.host.VersionHosting`, without waiting.

    A version is DEPLOYING until `progress`; `is_up` is false while the host's own process starts or is replaced.
    """

    def __init__(self) -> None:
        self.apps: dict[str, AppObservation] = {}
        self.is_up = False
        self.loads: Counter[str] = Counter()
        self.refused: dict[str, str] = {}

    def load(self, spec: ServableSpec) -> None:
        app = app_name(spec.servable)
        if app in self.refused:
            raise ConfigError((Problem(self.refused[app]),))
        self.loads[app] += 1
        self.apps.setdefault(app, AppObservation(Condition.DEPLOYING))

    def unload(self, app: str) -> None:
        if self.apps.get(app, AppObservation(Condition.FAILED)).condition is Condition.FAILED:
            self.apps.pop(app, None)
        else:
            self.apps[app] = AppObservation(Condition.DELETING)

    def versions(self) -> Mapping[str, AppObservation]:
        return dict(self.apps)

    def metrics(self, app: str) -> bytes:
        return f"metrics of {app}".encode()

    def progress(self) -> None:
        """Let the process of the host be up, and every version finish what it is doing."""
        self.is_up = True
        for app, one in tuple(self.apps.items()):
            if one.condition is Condition.DELETING:
                del self.apps[app]
            elif one.condition is Condition.DEPLOYING:
                self.apps[app] = AppObservation(Condition.RUNNING, replicas=1)

    def fail(self, app: str, failure: LoadFailed) -> None:
        """Let a version fail to load."""
        self.apps[app] = AppObservation(Condition.FAILED, str(failure))

    def die(self) -> None:
        """Lose the process with all versions; Serve is replacing it."""
        self.apps.clear()
        self.is_up = False


def raised_by_host(error: Exception) -> RayTaskError:
    """Return what a handle raises when a method of a host raises."""
    return RayTaskError("ask", "a traceback", error, proctitle="host", pid=1, ip="127.0.0.1")


class FakeVersionHosts:
    """The hosts of a cluster; implements `deployments.hosting.hosted_versions.VersionHosts`.

    What hosts in `late` are asked is answered by `answer`. The application of one in `broken` has failed, one in
    `deleting` ends. A host in `raising` is up and raises at every call, or at those of one method (`node.method`).
    """

    def __init__(self, *nodes: str) -> None:
        self.alive = set(nodes)
        self.without_cpus: set[str] = set()
        self.hosts: dict[str, FakeVersionHost] = {}
        self.broken: dict[str, str] = {}
        self.deleting: set[str] = set()
        self.raising: dict[str, Exception] = {}
        self.late: set[str] = set()
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.stop_fails: Exception | None = None
        self.questions = 0
        self._waiting: list[tuple[Future[Any], str, str, tuple[Any, ...]]] = []

    def nodes(self) -> Mapping[str, float]:
        return {node: 0.0 if node in self.without_cpus else 2.0 for node in self.alive}

    def conditions(self) -> dict[str, tuple[Condition, str]]:
        return {node: self._condition(node, one) for node, one in self.hosts.items()}

    def _condition(self, node: str, host: FakeVersionHost) -> tuple[Condition, str]:
        if node in self.broken:
            return Condition.FAILED, self.broken[node]
        if node in self.deleting:
            return Condition.DELETING, ""
        return Condition.RUNNING if host.is_up else Condition.DEPLOYING, ""

    def start(self, node: str) -> None:
        assert node in self.alive, f"{node} is lost"
        self.started.append(node)
        self.hosts.setdefault(node, FakeVersionHost())

    def stop(self, node: str) -> None:
        if self.stop_fails is not None:
            raise self.stop_fails
        self.stopped.append(node)
        self.hosts.pop(node, None)

    def ask(self, node: str, method: str, *arguments: Any) -> Future[Any]:
        """Answer at once unless the host is late; one that is not up fails, as a call to it does after its time."""
        self.questions += 1
        answer: Future[Any] = Future()
        if node in self.late:
            self._waiting.append((answer, node, method, arguments))
        else:
            self._answer(answer, node, method, arguments)
        return answer

    def answer(self) -> None:
        """Answer all that late hosts were asked."""
        waiting, self._waiting = self._waiting, []
        for future, node, method, arguments in waiting:
            self._answer(future, node, method, arguments)

    def _answer(self, future: Future[Any], node: str, method: str, arguments: tuple[Any, ...]) -> None:
        host = self.hosts.get(node)
        if host is None or not host.is_up or node not in self.alive:
            future.set_exception(TimeoutError(LOST))
            return
        raising = self.raising.get(node) or self.raising.get(f"{node}.{method}")
        if raising is not None:
            future.set_exception(raised_by_host(raising))
            return
        try:
            future.set_result(getattr(host, method)(*arguments))
        except ConfigError as error:
            future.set_exception(raised_by_host(error))

    def progress(self) -> None:
        """Let every host and every version finish what it is doing."""
        for node, host in self.hosts.items():
            if node not in self.broken:
                host.progress()

    def host_up(self) -> None:
        """Let the process of every host be up; its versions go on with what they do."""
        for host in self.hosts.values():
            host.is_up = True

    def lose(self, node: str) -> None:
        """Lose a node with everything on it."""
        self.alive.discard(node)
        self.hosts[node].die()
