"""Stand-ins behind the same interfaces as the real things: clock, storage, model list, Serve, transport, model."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.config.model_config import BatchingParameters, ModelConfig, ModelResources
from core.config.version_policy import VersionPolicy
from core.delivery.arm_counts import ArmCounts, Tally
from core.delivery.split import ArmKey
from core.errors import Code, ConfigError, DeadlineExceeded, Problem, ServingError, Unavailable
from core.inference.signature import ServedModel
from core.routing.router_report import RouterReport
from core.routing.table import Route, RoutingTable
from core.routing.transport import TIMED_OUT, Answer, Call, Waiting
from core.storage.version_listing import FileEntry, VersionDirectory, VersionListing
from core.versions.load_report import LoadFailed
from core.versions.record import Failure
from core.versions.servable import app_name
from core.versions.servable_spec import ServableSpec
from core.versions.world import ABSENT, AppObservation, Condition
from deployments.routing import direct_connection
from deployments.versions.serve_status import ObservedApps

LONG_AGO_S = 0.0
COMPLETE = ("saved_model.pb",)
HALF_WRITTEN = ("variables/variables.index",)


WALL_AHEAD_S = 1.7e9
"""How far the fake wall clock is ahead of the fake steady clock."""


class FakeClock:
    """Seconds that pass only when the test says so; implements `deployments.system.clock.Clock`."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s
        self.wall_ahead_s = WALL_AHEAD_S

    def steady_s(self) -> float:
        """Return the clock that never steps."""
        return self.now_s

    def wall_s(self) -> float:
        """Return the clock that a test may set."""
        return self.now_s + self.wall_ahead_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    def set_back(self, seconds: float) -> None:
        """Let the wall clock step back, as when somebody corrects it."""
        self.wall_ahead_s -= seconds


class FakeSource:
    """Storage in memory, by base path; implements `core.storage.version_listing.Source`."""

    def __init__(self, versions: Mapping[str, Iterable[int]] | None = None) -> None:
        self.directories: dict[str, dict[int, VersionDirectory]] = {}
        self.errors: dict[str, str] = {}
        self.listed: Counter[str] = Counter()
        for base_path, numbers in (versions or {}).items():
            self.directories[base_path] = {}
            for number in numbers:
                self.write(base_path, number)

    def write(
        self,
        base_path: str,
        version: int,
        files: Iterable[str] = COMPLETE,
        *,
        changed_s: float | None = LONG_AGO_S,
        etag: str = "",
    ) -> None:
        """Put a version directory with these files there, instead of what was there."""
        entries = frozenset(FileEntry(path, 7, changed_s, etag) for path in files)
        directory = VersionDirectory(f"{base_path}/{version}", entries)
        self.directories.setdefault(base_path, {})[version] = directory

    def remove(self, base_path: str, version: int) -> None:
        """Delete a version directory."""
        del self.directories[base_path][version]

    def list_versions(self, base_path: str, policy: VersionPolicy, subpath: str = "") -> VersionListing:
        """List what stands below a base path, or say why not."""
        del policy
        self.listed[base_path] += 1
        if base_path in self.errors:
            return VersionListing(error=self.errors[base_path])
        if base_path not in self.directories:
            return VersionListing(error=f"NOT_FOUND: {base_path} not found")
        found = self.directories[base_path]
        return VersionListing({number: _inside(one, subpath) if subpath else one for number, one in found.items()})


def _inside(version: VersionDirectory, subpath: str) -> VersionDirectory:
    """Return a version whose model lies deeper."""
    above = f"{subpath}/"
    files = {replace(one, path=one.path.removeprefix(above)) for one in version.files if one.path.startswith(above)}
    beside = frozenset(one.path for one in version.files if not one.path.startswith(above))
    return VersionDirectory(f"{version.path}/{subpath}", frozenset(files), beside=beside)


class FakeModelList:
    """The configuration as values; implements `deployments.config.models_in_force.ModelList`."""

    def __init__(self, *configs: ModelConfig) -> None:
        self.configs = configs
        self.problems: tuple[Problem, ...] = ()
        self.spoken: frozenset[str] = frozenset()
        self.away: tuple[Problem, ...] = ()
        self.changed = 0

    def recall(self, spoken: frozenset[str]) -> None:
        """Add what a predecessor knew."""
        self.spoken |= spoken

    def models(self) -> tuple[ModelConfig, ...]:
        """Return the configured models, or all mistakes."""
        if self.problems:
            raise ConfigError(self.problems)
        return self.configs

    def batching(self) -> BatchingParameters | None:
        """Return the parameters for all models."""
        return None

    def session_config(self) -> bytes:
        """Return the session options."""
        return b""

    def unread(self) -> tuple[Problem, ...]:
        """Return the problems of files that are away."""
        return self.away

    def changes(self) -> int:
        """Return how often files at URLs changed."""
        return self.changed

    def joined(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Nothing to add."""
        return listed

    def placed(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Return models with the resources and the delivery of those that are configured."""
        known = {config.name: config for config in self.configs}
        own = ((one, known.get(one.name, one)) for one in listed)
        return tuple(replace(one, resources=here.resources, delivery=here.delivery) for one, here in own)


@dataclass
class FakeRouter:
    """A router that takes tables and counts calls.

    `answers` is false while it is too slow for a broadcast; `is_heard` is false while its answers are lost; `is_known`
    is false while Serve does not yet send broadcasts to it; `is_open` says that it takes requests. `arms` is what it has
    counted of divided requests.
    """

    name: str
    table: RoutingTable = field(default_factory=lambda: RoutingTable(0))
    in_flight: Counter[str] = field(default_factory=Counter)
    answers: bool = True
    is_known: bool = True
    is_heard: bool = True
    is_open: bool = True
    arms: dict[ArmKey, ArmCounts] = field(default_factory=dict)

    def apply(self, table: RoutingTable) -> RouterReport:
        """Take a newer table."""
        if table.generation > self.table.generation:
            self.table = table
        return self.report()

    def report(self) -> RouterReport:
        """Say what is in use."""
        in_flight = {app: count for app, count in self.in_flight.items() if count}
        return RouterReport(self.name, self.table.generation, in_flight, self.table.watcher, arms=dict(self.arms))

    def count(self, model: str, tallies: Mapping[int, Tally]) -> None:
        """Count requests of each version under the division in use, all of them judged."""
        known = self.table.models.get(model)
        division = known.division if known is not None else None
        for version, tally in tallies.items() if division is not None and division.is_counted else ():
            key = ArmKey(model, division.epoch, version)
            self.arms[key] = self.arms.get(key, ArmCounts()) + ArmCounts(tally, tally)

    def needs(self, app: str) -> bool:
        """Whether a request could be, or is, with an application."""
        return app in self.table.apps or self.in_flight[app] > 0


class Killed(BaseException):
    """The watcher's process ended here."""


class FakeServeHost:
    """Serve in memory; implements `deployments.versions.serve_host.ServeHost`.

    An application that is deployed stays DEPLOYING until `progress`; then it runs, or fails when its path is in
    `broken`. `calls` counts calls to the host; when `fail_at` is reached, `fail_with` is raised before (or, with
    `fail_after_effect`, after) the call did its work.
    """

    def __init__(self, running: Iterable[str] = (), routers: Iterable[FakeRouter] = ()) -> None:
        self.apps = {app: AppObservation(Condition.RUNNING) for app in running}
        self.routers = {router.name: router for router in routers}
        self.broken: Callable[[str], bool] = lambda _: False
        self.paths: dict[str, str] = {}
        self.deployed: list[str] = []
        self.resources: dict[str, ModelResources] = {}
        self.deleted: list[str] = []
        self.published: list[RoutingTable] = []
        self.may_delete: Callable[[str], None] = lambda _: None
        self.between: Callable[[], None] = lambda: None
        self.refused: dict[str, Exception] = {}
        self.looks: list[Collection[str] | None] = []
        self._observed = ObservedApps(lambda: dict(self.apps), self._some)
        self._told: set[str] = set()
        self.calls = 0
        self.fail_at: int | None = None
        self.fail_after_effect = False
        self.fail_with: BaseException = Unavailable("Serve does not answer")
        self.disk = ""
        self.held: list[set[str]] = []

    def full_disk(self) -> str:
        """Return what the test says of the disk."""
        return self.disk

    def observe(self, moving: Collection[str] | None = None) -> Mapping[str, AppObservation]:
        """Return the version applications by name; only those that run, or no longer do, are told without being asked."""
        self._begin()
        self.looks.append(moving)
        if self.running != self._told:
            self._told = self.running
            self._observed.note_change()
        seen = self._observed.look(moving, 0.0)
        self._end()
        return dict(seen)

    def _some(self, apps: Collection[str]) -> Mapping[str, AppObservation]:
        return {app: one for app, one in self.apps.items() if app in apps}

    def deploy(self, spec: ServableSpec, resources: ModelResources) -> None:
        """Submit an application; one that exists would be replaced, which is never wanted."""
        self._begin()
        app = app_name(spec.servable)
        if app in self.refused:
            raise self.refused[app]
        seen = self.apps.get(app, ABSENT)
        assert seen.condition is Condition.ABSENT, f"{app} is deployed although it is {seen.condition}"
        self.apps[app] = AppObservation(Condition.DEPLOYING)
        self.paths[app] = spec.path
        self.deployed.append(app)
        self.resources[app] = resources
        self._end()

    def delete(self, app: str) -> None:
        """Begin to delete an application."""
        self._observed.note_change()
        self._begin()
        self.may_delete(app)
        self.deleted.append(app)
        if app in self.apps:
            self.apps[app] = AppObservation(Condition.DELETING)
        self._end()

    def publish(self, table: RoutingTable) -> list[RouterReport]:
        """Hand a table to all routers that take broadcasts."""
        self._begin()
        self.published.append(table)
        known = [router for router in self.routers.values() if router.is_known]
        reports = []
        for router in known:
            self.between()
            report = router.apply(table) if router.answers else None
            reports += [report] if report is not None and router.is_heard else []
        self.between()
        self._end()
        if len(reports) < len(known):
            raise Unavailable("Not every router answered apply")
        return reports

    def tables(self) -> list[RoutingTable]:
        """Return the tables that routers use."""
        self._begin()
        self._end()
        known = [router for router in self.routers.values() if router.is_known]
        if not all(router.answers for router in known):
            raise Unavailable("Not every router answered table")
        return [router.table for router in known]

    def cpus(self) -> int:
        """Count the CPUs."""
        return 2

    def hold(self, apps: Collection[str]) -> None:
        """Remember which applications keep their replicas."""
        self.held.append(set(apps))

    def progress(self) -> None:
        """Let every application finish what it is doing."""
        for app in tuple(self.apps):
            self.progress_one(app)

    def progress_one(self, app: str) -> None:
        """Let one application finish what it is doing."""
        if self.apps[app].condition is Condition.DELETING:
            del self.apps[app]
        elif self.apps[app].condition is Condition.DEPLOYING:
            self.finish_deploying(app)

    def finish_deploying(self, app: str) -> None:
        """Let an application run, or fail when its directory is broken."""
        if self.broken(self.paths.get(app, "")):
            self.fail(app)
        else:
            self.apps[app] = AppObservation(Condition.RUNNING)

    def fail(self, app: str, code: Code = Code.NOT_FOUND, message: str = "no SavedModel there") -> None:
        """Let an application fail as a model server that cannot load does."""
        self.apps[app] = AppObservation(Condition.FAILED, f"Replica died: {LoadFailed(code, message)}\n at line 3")

    def condition(self, app: str) -> Condition:
        """Return how an application is."""
        return self.apps.get(app, ABSENT).condition

    @property
    def running(self) -> set[str]:
        """Names of the applications that run."""
        return {app for app, seen in self.apps.items() if seen.condition is Condition.RUNNING}

    def _begin(self) -> None:
        self.calls += 1
        if self.calls == self.fail_at and not self.fail_after_effect:
            raise self.fail_with

    def _end(self) -> None:
        if self.calls == self.fail_at and self.fail_after_effect:
            raise self.fail_with


class FakeTransport:
    """Answers calls from a function, and remembers them; implements `core.routing.transport.Transport`."""

    def __init__(self, answer: Answer | Exception | None = None) -> None:
        self.answer = answer if answer is not None else Answer(Code.OK, b'{"predictions": [3.0]}')
        self.calls: list[tuple[Route, Call]] = []
        self.gate: asyncio.Event | None = None
        self.cancelled = 0
        self.failures: dict[str, Failure] = {}
        self.sends_at_once = True

    def hold(self) -> asyncio.Event:
        """Let calls wait until the event is set."""
        self.gate = asyncio.Event()
        return self.gate

    async def call(self, route: Route, call: Call) -> Answer:
        """Return the answer once the gate is open."""
        self.calls.append((route, call))
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def repeat(self, route: Route, call: Call) -> Answer:
        """Do the same again."""
        return await self.call(route, call)

    def failing(self) -> Mapping[str, Failure]:
        """Return the applications that a test lets fail."""
        return self.failures

    def begin(self, route: Route, call: Call, waiting: Waiting) -> FakeOpenCall | None:
        """Send a call without waiting, unless `call` must be used."""
        return FakeOpenCall(self, route, call, waiting) if self.sends_at_once else None


class FakeOpenCall:
    """A call that was begun on a FakeTransport."""

    def __init__(self, transport: FakeTransport, route: Route, call: Call, waiting: Waiting) -> None:
        self._waiting = waiting
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._carry(lambda: transport.call(route, call)))
        if call.timeout_s is not None:
            timer = loop.call_later(call.timeout_s + direct_connection.ANSWER_GRACE_S, self._expire)
            self._task.add_done_callback(lambda _: timer.cancel())

    async def _carry(self, answer: Callable[[], Awaitable[Answer]]) -> None:
        try:
            self._waiting.set_result(await answer())
        except ServingError as error:
            self._waiting.set_exception(error)

    def withdraw(self) -> None:
        """Cancel the call."""
        self._task.cancel()

    def _expire(self) -> None:
        self._task.cancel()
        if not self._waiting.done():
            self._waiting.set_exception(DeadlineExceeded(TIMED_OUT))


class FakeLoaded:
    """A loaded version without TensorFlow: every fetch is `function` of the only feed."""

    def __init__(self, served: ServedModel, function: Callable[[np.ndarray], np.ndarray] = lambda x: x / 2 + 2) -> None:
        self.served = served
        self.runs: list[tuple[int | None, bool]] = []
        self._function = function

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        """Apply the function."""
        self.runs.append((timeout_ms, in_caller_thread))
        (fed,) = feeds.values()
        return [self._function(fed) for _ in fetches]
