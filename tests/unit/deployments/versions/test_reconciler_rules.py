"""Model-based test of the watcher: any sequence of events, any failure, any restart; the rules of rollouts hold."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.admin.reload_request import is_settled, require_available
from core.config.model_config import ModelConfig, ModelResources, Rollout
from core.config.models_text import to_message
from core.config.server_settings import LoadingSettings, ModelSourceSettings, PollingSettings, ServerSettings
from core.config.version_policy import All, Latest, Specific
from core.errors import Problem, RuntimeFailure, Unavailable
from core.routing.table import ModelRoutes, RoutingTable
from core.storage.version_listing import UNKNOWN
from core.versions.history import VersionHistory
from core.versions.lifecycle import State
from core.versions.servable import ServableId, app_name
from core.versions.world import AppObservation, Condition
from deployments.config.models_in_force import Reloaded
from deployments.versions.reconciler import Reconciler
from tests.support.fakes import COMPLETE, HALF_WRITTEN, FakeClock, FakeModelList, FakeRouter, FakeServeHost, FakeSource

MODELS = ("a", "b")
VERSIONS = (1, 2, 3)
DRAIN_TIMEOUT_S = 30.0
RETRY_INTERVAL_S = 5.0
PULL_EVERY_S = 5.0
SETTINGS = ServerSettings(
    source=ModelSourceSettings(model_config_file_poll_wait_s=1),
    polling=PollingSettings(file_system_poll_wait_s=1),
    loading=LoadingSettings(max_num_load_retries=1, load_retry_interval_s=RETRY_INTERVAL_S),
)

models = st.sampled_from(MODELS)
versions = st.sampled_from(VERSIONS)
policies = st.one_of(
    st.builds(Latest, st.integers(1, 2)), st.just(All()), st.builds(Specific, st.frozensets(versions, max_size=2))
)


class Rollouts(RuleBasedStateMachine):
    """A cluster in memory, its operators, its accidents, and one watcher at a time."""

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.source = FakeSource({f"/{model}": [1] for model in MODELS})
        self.model_list = FakeModelList(*(ModelConfig(model, f"/{model}") for model in MODELS))
        self.host = FakeServeHost(routers=[FakeRouter("r1"), FakeRouter("r2")])
        self.host.between = self.check_truth
        self.router_count = 2
        self.host.broken = self.is_broken
        self.host.may_delete = self.check_deletion
        self.broken: set[str] = set()
        self.stamp = 1.0
        self.lost: set[str] = set()
        self.unlucky: set[str] = set()
        self.pulled_s: dict[str, float] = {}
        self.start_watcher()
        self.all_goes_on()

    def start_watcher(self) -> None:
        self.reloads: list[tuple[Reloaded, frozenset[str]]] = []
        self.watch = Reconciler(SETTINGS, self.host, self.source, self.model_list, self.clock)
        self.ticked = False

    def is_broken(self, path: str) -> bool:
        _, model, number = path.split("/")
        return path in self.broken or int(number) not in self.source.directories[f"/{model}"]

    # What operators do.

    @rule(model=models, version=versions, is_good=st.booleans(), is_old=st.booleans())
    def write(self, model, version, is_good, is_old) -> None:
        path = f"/{model}/{version}"
        self.stamp += 1.0
        self.broken = self.broken - {path} if is_good else self.broken | {path}
        # A store that tells no times tells contents apart by other means; without any, no repair could be noticed.
        self.source.write(f"/{model}", version, changed_s=self.stamp if is_old else None, etag=str(self.stamp))

    @rule(model=models, version=versions)
    def begin_to_write(self, model, version) -> None:
        self.source.write(f"/{model}", version, HALF_WRITTEN)

    @rule(model=models, version=versions)
    def remove(self, model, version) -> None:
        self.source.directories[f"/{model}"].pop(version, None)

    @rule(model=models)
    def storage_fails(self, model) -> None:
        self.source.errors[f"/{model}"] = "UNAVAILABLE: storage"

    @rule(model=models)
    def storage_heals(self, model) -> None:
        self.source.errors.pop(f"/{model}", None)

    @rule(model=models, policy=policies, rollout=st.sampled_from(Rollout))
    def configure(self, model, policy, rollout) -> None:
        resources = ModelResources(rollout=rollout, drain_timeout_s=DRAIN_TIMEOUT_S)
        config = ModelConfig(model, f"/{model}", policy, {"stable": 1}, resources)
        self.model_list.configs = (*self.others(model), config)

    @rule(model=models, version=versions)
    def move_label(self, model, version) -> None:
        self.model_list.configs = tuple(
            replace(one, labels={"stable": version}) if one.name == model else one for one in self.model_list.configs
        )

    @rule(model=models)
    def unconfigure(self, model) -> None:
        self.model_list.configs = tuple(self.others(model))

    @rule(is_broken=st.booleans())
    def edit_config(self, is_broken) -> None:
        self.model_list.problems = (Problem("typo"),) if is_broken else ()

    def others(self, model: str) -> Iterable[ModelConfig]:
        return (config for config in self.model_list.configs if config.name != model)

    # What Serve and the routers do.

    @rule(app=st.runner().flatmap(lambda self: st.sampled_from(sorted(self.host.apps) or ["none"])))
    def serve_goes_on(self, app) -> None:
        if app in self.host.apps:
            self.host.progress_one(app)

    @rule(
        app=st.runner().flatmap(lambda self: st.sampled_from(sorted(self.host.apps) or ["none"])),
        condition=st.sampled_from([Condition.ABSENT, Condition.FAILED, Condition.DELETING]),
    )
    def an_app_is_lost(self, app, condition) -> None:
        if app in self.host.apps:
            self.host.apps[app] = AppObservation(condition)
            self.lost.add(app)
            self.unlucky |= {app} if condition is Condition.FAILED else set()
        if condition is Condition.ABSENT:
            self.host.apps.pop(app, None)

    @rule(place=st.sampled_from(["r1", "r2"]), answers=st.booleans(), is_known=st.booleans(), is_heard=st.booleans())
    def a_router_changes(self, place, answers, is_known, is_heard) -> None:
        is_new = place not in self.host.routers
        if is_new:
            self.router_count += 1
            self.host.routers[place] = FakeRouter(f"r{self.router_count}", is_open=False)
        router = self.host.routers[place]
        router.answers, router.is_known, router.is_heard = answers, is_known, is_heard
        if is_new:
            self.pull(router)

    @rule(model=models, policy=policies, version=versions)
    def request_a_model(self, model, policy, version) -> None:
        """Reload a list with one model more, or with another label."""
        if self.watch.configuration.in_force() is None:
            return
        config = ModelConfig(model, f"/{model}", policy, {"stable": version})
        message = to_message([*(one for one in self.watch._models if one.name != model), config])
        reloaded = self.watch.configuration.reload(message, self.watch.table)
        self.reloads.append((reloaded, frozenset({model})))

    @rule(name=st.sampled_from(["r1", "r2"]))
    def a_router_dies(self, name) -> None:
        self.host.routers.pop(name, None)

    @rule(model=models, policy=policies)
    def choose_versions(self, model, policy) -> None:
        self.configure(model, policy, Rollout.AVAILABILITY_PRESERVING)

    @rule(name=st.sampled_from(["r1", "r2"]), model=models)
    def a_call_begins(self, name, model) -> None:
        router = self.host.routers.get(name)
        known = router.table.models.get(model, ModelRoutes()) if router is not None else ModelRoutes()
        if known.latest is not None:
            router.in_flight[known.latest.app] += 1

    @rule(name=st.sampled_from(["r1", "r2"]))
    def calls_end(self, name) -> None:
        if name in self.host.routers:
            self.host.routers[name].in_flight.clear()

    def pull(self, router: FakeRouter) -> None:
        router.apply(self.watch.pulled(router.report()))
        router.is_open = router.is_open or router.table.settled
        self.pulled_s[router.name] = self.clock.now_s

    def pull_due(self) -> None:
        """Let routers pull as often as they do, and not whenever a watcher would like them to."""
        for router in self.host.routers.values():
            if self.clock.now_s - self.pulled_s.get(router.name, 0.0) >= PULL_EVERY_S:
                self.pull(router)

    # What the watcher does.

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 40.0]))
    def time_passes(self, seconds) -> None:
        self.clock.advance(seconds)
        self.pull_due()

    @rule(seconds=st.sampled_from([-3600.0, 0.5, 3600.0]))
    def the_wall_clock_is_set(self, seconds) -> None:
        self.clock.set_back(seconds)

    @rule()
    def the_watcher_is_replaced(self) -> None:
        self.start_watcher()

    @rule(fail_at=st.one_of(st.none(), st.integers(1, 8)), after_effect=st.booleans())
    def tick(self, fail_at, after_effect) -> None:
        self.clock.advance(1.0)
        self.pull_due()
        self.turn(fail_at, after_effect=after_effect)

    def turn(self, fail_at: int | None = None, *, after_effect: bool = False) -> None:
        before = {name: numbers - self.left(name) for name, numbers in self.answering().items()}
        table = self.watch.table
        self.host.fail_at = None if fail_at is None else self.host.calls + fail_at
        self.host.fail_after_effect = after_effect
        try:
            self.watch.tick()
            self.ticked = self.watch.configuration.in_force() is not None
        except Unavailable:
            self.ticked = False
        self.host.fail_at = None
        self.check_availability(before)
        self.check_labels(table, self.watch.table)

    @rule()
    def all_goes_on(self) -> None:
        """Some ticks without accidents."""
        for _ in range(3):
            self.tick(None, after_effect=False)
            self.host.progress()

    # The rules.

    def check_deletion(self, app: str) -> None:
        """Nobody can call an application that is deleted, unless its drain time was over or it was lost anyway."""
        callers = [router.name for router in self.host.routers.values() if router.needs(app)]
        assert not callers or app in self.lost or self.is_overdue(app), f"{app} is deleted, {callers} need it"

    def is_overdue(self, app: str) -> bool:
        record = next((one for key, one in self.watch._records.items() if app_name(key) == app), None)
        if record is None or record.state is not State.UNLOADING:
            return False
        return self.clock.now_s - record.since_s > DRAIN_TIMEOUT_S

    def answering(self) -> dict[str, set[int]]:
        """Name the versions that answer now, according to the newest table of a router."""
        table = max((one.table for one in self.host.routers.values()), key=lambda one: one.generation, default=None)
        if table is None:
            return {}
        running = self.host.running
        return {
            name: {number for number, route in model.routes.items() if route.app in running}
            for name, model in table.models.items()
        }

    def left(self, model: str) -> set[int]:
        """Name the versions that go since an earlier tick; routers may not know it yet, or still answer with them."""
        told = self.watch.table.models.get(model, ModelRoutes())
        going = {one.version for one in told.statuses if one.state is State.UNLOADING}
        return {one.version for one in told.statuses} - set(told.routes) | going

    def check_availability(self, before: dict[str, set[int]]) -> None:
        """Where the last version answered, one still does, or nothing is there to be served instead."""
        after = self.answering()
        for config in self.watch._models or ():
            was = {
                number
                for number in before.get(config.name, ())
                if app_name(ServableId(config.name, number)) not in self.lost
            }
            listing = self.watch._listings.by_model.get(config.name, UNKNOWN).listing
            aspired = listing is None or config.policy.select(frozenset(listing.versions))
            if was and aspired and config.resources.rollout is Rollout.AVAILABILITY_PRESERVING:
                assert after.get(config.name), f"{config.name} went from {was} to nothing"
                if self.ticked:
                    assert self.watch.table.models[config.name].routes, f"{config.name} is to go from {was} to nothing"

    def check_labels(self, before: RoutingTable, after: RoutingTable) -> None:
        """A label that moves names the version before or the version after, and never nothing in between."""
        for name, model in after.models.items():
            was = before.models.get(name, ModelRoutes())
            for label in model.labels:
                answered = was.version_of(label)
                if answered in was.routes and answered in model.routes:
                    assert model.version_of(label) in model.routes, f"{label} of {name} names nothing any more"

    @invariant()
    def what_is_told_is_true(self) -> None:
        """After every step, and while a table is on its way to the routers."""
        if hasattr(self, "watch"):
            self.check_truth()

    def check_truth(self) -> None:
        """Success is told only from a table that every router uses, whichever of them is asked.

        A router with the table of a former watcher does not count while the present one cannot ask for it.
        """
        maker = self.watch.table.watcher
        routers = [one for one in self.host.routers.values() if one.is_open and one.table.watcher == maker]
        for router in routers:
            assert router.table.generation >= self.watch.confirmed.generation
            for name, model in router.table.models.items():
                for version in model.available:
                    self.check_available(name, version, routers)
                for version in self.ended(router, model):
                    self.check_ended(name, version, routers)
        self.check_reloads(routers)

    def check_available(self, name: str, version: int, routers: list[FakeRouter]) -> None:
        """Whichever router is asked, it leads to a version that any of them shows as AVAILABLE."""
        app = app_name(ServableId(name, version))
        for router in routers:
            known = router.table.models.get(name, ModelRoutes())
            assert version in known.routes or app in self.lost, f"{app} is shown, and {router.name} does not find it"

    def ended(self, router: FakeRouter, model: ModelRoutes) -> set[int]:
        """Name the versions that a router with the newest table shows as END."""
        if router.table.generation < self.watch.table.generation:
            return set()
        return {one.version for one in model.statuses if one.state is State.END}

    def check_ended(self, name: str, version: int, routers: list[FakeRouter]) -> None:
        app = app_name(ServableId(name, version))
        for router in routers:
            routed = version in router.table.models.get(name, ModelRoutes()).routes
            assert not routed or app not in self.host.running, f"{app} has ended, and {router.name} leads to it"

    def check_reloads(self, routers: list[FakeRouter]) -> None:
        """Once a reload is answered with success, the models that it names answer, by their labels too."""
        for reloaded, named in tuple(self.reloads):
            if self.watch.published_number < reloaded.number or not is_settled(self.watch.confirmed, reloaded.added):
                continue
            self.reloads.remove((reloaded, named))
            with suppress(RuntimeFailure):
                require_available(self.watch.confirmed, reloaded.added)
                for router in routers:
                    self.check_told(router, reloaded.added, named)

    def check_told(self, router: FakeRouter, added: frozenset[str], named: frozenset[str]) -> None:
        for name in added:
            assert router.table.resolve(name).app in self.host.running | self.lost
        for name in named:
            told, known = (one.models.get(name, ModelRoutes()) for one in (self.watch.confirmed, router.table))
            for label in told.labels.keys() - told.pending_labels.keys() if told == known else ():
                assert router.table.resolve(name, label=label) == self.watch.confirmed.resolve(name, label=label)

    @invariant()
    def a_table_names_only_what_runs(self) -> None:
        """After a tick the table leads to running applications, or to what was lost since."""
        if not hasattr(self, "watch") or not self.ticked:
            return
        for app in self.watch.table.apps:
            assert app in self.host.running or app in self.lost, f"{app} is in the table and does not run"

    def all_comes_to_rest(self) -> None:
        """When nothing goes wrong any more, the world becomes what the configuration asks for, and stays so."""
        self.source.errors.clear()
        self.model_list.problems = ()
        for router in self.host.routers.values():
            router.answers = router.is_known = router.is_heard = True
            router.in_flight.clear()
        for _ in range(18):
            self.clock.advance(RETRY_INTERVAL_S + 1.0)
            self.pull_due()
            self.turn()
            self.host.progress()
            self.lost.clear()
        self.turn()
        self.check_convergence()
        self.check_rest()

    def check_convergence(self) -> None:
        table = self.watch.table
        assert self.host.apps == {app: AppObservation(Condition.RUNNING) for app in table.apps}
        for router in self.host.routers.values():
            assert router.table == table
        configs = self.watch.configuration.in_force().models  # those of the files, or of a request since
        configured = {config.name for config in configs}
        assert not [name for name, model in table.models.items() if name not in configured and model.routes]
        for config in configs:
            self.check_model(config, set(table.models[config.name].routes))

    def check_model(self, config: ModelConfig, served: set[int]) -> None:
        directories = self.source.directories[config.base_path]
        whole = {number for number, one in directories.items() if {file.path for file in one.files} == set(COMPLETE)}
        wanted = config.policy.select(frozenset(whole | (served & set(directories))))
        good = {number for number in wanted if f"{config.base_path}/{number}" not in self.broken and number in whole}
        assert {number for number in good if app_name(ServableId(config.name, number)) not in self.unlucky} <= served
        for number in wanted - served:
            (status,) = self.watch.table.statuses(config.name, number)
            assert status.state is State.END
            assert status.message
        extra = served - wanted
        asked_for = config.policy.select(frozenset(directories))
        if extra and config.resources.rollout is Rollout.AVAILABILITY_PRESERVING:
            assert asked_for, f"{extra} should be gone"
            assert not served & wanted, f"{extra} should be gone"
        if extra and config.resources.rollout is Rollout.RESOURCE_PRESERVING:
            assert asked_for, f"{extra} should be gone"
            assert not wanted, f"{extra} should be gone"

    def check_rest(self) -> None:
        """Another tick changes nothing; neither does another watcher."""
        before = self.footprint()
        for _ in range(3):
            self.clock.advance(1.5)
            self.turn()
        assert self.footprint() == before
        if self.host.routers:
            self.check_successor()

    def check_successor(self) -> None:
        known, deployed, deleted = self.known(), len(self.host.deployed), len(self.host.deleted)
        self.start_watcher()
        for _ in range(6):
            self.clock.advance(1.5)
            self.pull_due()
            self.turn()
        assert self.known() == known
        assert (len(self.host.deployed), len(self.host.deleted)) == (deployed, deleted)

    def known(self) -> dict[str, object]:
        """Say all of the wanted versions; how long others are shown depends on the wall clock."""
        models = self.watch.table.models.items()
        return {
            name: (one.routes, one.labels, one.held, wanted_histories(one)) for name, one in models if one.configured
        }

    def footprint(self) -> tuple[object, ...]:
        return (self.watch.table, len(self.host.deployed), len(self.host.deleted), len(self.host.published))

    def teardown(self) -> None:
        if hasattr(self, "watch"):
            self.all_comes_to_rest()


def wanted_histories(model: ModelRoutes) -> dict[int, VersionHistory]:
    """Leave out what a watcher can only guess that comes to a running version without its predecessor's table."""
    histories = model.histories.items()
    return {version: replace(history, fingerprint="") for version, history in histories if history.aspired}


class TestRollouts(Rollouts.TestCase):
    settings = settings(
        max_examples=200,
        stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
    )
