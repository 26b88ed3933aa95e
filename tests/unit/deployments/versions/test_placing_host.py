"""Tests of the watcher with hosted versions: the same rules as for versions with an application of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.model_config import ModelConfig, ModelResources, Placement
from core.config.server_settings import ClusterSettings, ServerSettings
from core.errors import Code, ConfigError
from core.routing.table import RoutingTable
from core.versions.lifecycle import State
from core.versions.load_report import LoadFailed
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.hosting.hosted_versions import HostedVersions
from deployments.versions.placing_host import PlacingHost
from deployments.versions.reconciler import FIRST_DELETE_AFTER_S, Reconciler
from tests.support.fakes import FakeServeHost
from tests.support.sites import SETTINGS, M, Site
from tests.support.version_hosts import FakeVersionHost, FakeVersionHosts

HOSTED = ModelResources(placement=Placement.HOSTED)
H = replace(M, resources=HOSTED)


class HostedSite(Site):
    """A watcher of one hosted model, in a world in memory."""

    def __init__(self, versions=(1,), *, nodes=("n1",), running=(), configs=(H,), settings=SETTINGS) -> None:
        self.hosts = FakeVersionHosts(*nodes)
        super().__init__(versions, running=running, configs=configs, settings=settings)

    def restart(self) -> None:
        """Replace the watcher by a fresh one."""
        hosted = HostedVersions(self.hosts, self.clock, lambda _: None, patience_s=0.001)
        placing = PlacingHost(self.host, hosted)
        self.watch = Reconciler(self.settings, placing, self.source, self.model_list, self.clock)
        self.clock.advance(FIRST_DELETE_AFTER_S)

    def settle(self, ticks: int = 8) -> None:
        """Turn ticks while Serve and the hosts do what they are told."""
        for _ in range(ticks):
            self.tick(2.0)
            self.host.progress()
            self.hosts.progress()
        self.tick(2.0)

    def host_of(self, node: str = "n1") -> FakeVersionHost:
        return self.hosts.hosts[node]

    @property
    def hosted(self) -> set[str]:
        """Names of the versions in all hosts."""
        return {app for host in self.hosts.hosts.values() for app in host.apps}

    def has_always_answered(self) -> bool:
        """Whether some version answered in every table from the first one with a version on."""
        routed = [bool(table.models["m"].routes) for table in self.host.published if "m" in table.models]
        return all(routed[routed.index(True) :])


def test_a_hosted_version_is_loaded_by_a_host_and_then_routed_to() -> None:
    """Serve has no application for it."""
    site = HostedSite()

    site.settle()

    route = site.router.table.resolve("m")
    assert (route.app, route.host) == ("m:1", "host@n1")
    assert (site.hosted, site.host.deployed) == ({"m:1"}, [])


@pytest.mark.parametrize(
    ("before", "after"), [(HOSTED, HOSTED), (HOSTED, ModelResources()), (ModelResources(), HOSTED)]
)
def test_a_new_version_replaces_the_old_one_without_a_gap(before: ModelResources, after: ModelResources) -> None:
    """Also when the placement was changed meanwhile: the old version keeps its place until it ends."""
    site = HostedSite(configs=(replace(M, resources=before),))
    site.settle()
    kept = (site.hosted, site.host.running)
    site.model_list.configs = (replace(M, resources=after),)
    site.tick(10.0)
    assert (site.hosted, site.host.running) == kept

    site.source.write("/m", 2)
    site.settle(12)

    assert site.has_always_answered()
    in_host = after is HOSTED
    assert (site.hosted, site.host.running) == ({"m:2"} if in_host else set(), set() if in_host else {"m:2"})
    assert site.router.table.hosts == ({"m:2": "host@n1"} if in_host else {})


def test_a_broken_hosted_version_is_retried_and_then_shows_its_error() -> None:
    """As often as configured; the old version answers on."""
    site = HostedSite()
    site.settle()
    site.source.write("/m", 2)
    for _ in range(3):
        site.tick(2.0)
        site.host_of().fail("m:2", LoadFailed(Code.NOT_FOUND, "no SavedModel there"))
        site.tick(2.0)
        site.tick(60.0)

    (status,) = site.watch.table.statuses("m", 2)

    assert (status.state, status.message) == (State.END, "no SavedModel there")
    assert site.host_of().loads["m:2"] == 2
    assert site.state(1) is State.AVAILABLE


def test_the_routes_of_a_host_s_versions_stay_while_it_is_replaced() -> None:
    """No router hears of it: calls find their way by the handle, and by the new addresses."""
    site = HostedSite()
    site.settle()
    table = site.router.table

    site.host_of().die()
    site.settle()

    assert site.router.table == table
    assert site.hosted == {"m:1"}


def test_the_versions_of_a_lost_node_are_routed_to_elsewhere() -> None:
    """From the moment at which it is known, without a table that lacks them."""
    site = HostedSite(nodes=("n1", "n2"))
    site.settle()

    site.hosts.lose("n1")
    site.settle()

    assert site.router.table.hosts == {"m:1": "host@n2"}
    assert site.has_always_answered()


def test_a_new_watcher_loads_nothing_twice() -> None:
    """And publishes nothing for the restart alone."""
    site = HostedSite()
    site.settle()
    table = site.router.table

    site.restart()
    site.settle()

    assert site.host_of().loads == {"m:1": 1}
    assert site.router.table == table


def ten_hosted(*, nodes: tuple[str, ...] = ("n1",)) -> HostedSite:
    """Return a site of ten hosted models, of which four with processes of their own could load at a time."""
    configs = tuple(ModelConfig(f"m{number}", f"/m{number}", resources=HOSTED) for number in range(10))
    site = HostedSite((), configs=configs, nodes=nodes)
    for config in configs:
        site.source.write(config.base_path, 1)
    return site


def routes(table: RoutingTable) -> int:
    """Count the versions that a table leads to."""
    return len(table.apps)


@pytest.mark.parametrize("nodes", [("n1",), ("n1", "n2")])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_new_watcher_whose_hosts_answer_late_withdraws_loads_and_moves_nothing(
    nodes: tuple[str, ...], *, is_replaced: bool
) -> None:
    """Also when the hosts are being replaced at the same time: their versions go on answering."""
    site = ten_hosted(nodes=nodes)
    site.settle()
    assert routes(site.router.table) == 10
    table, published = site.router.table, len(site.host.published)

    for node in nodes:
        site.host_of(node).is_up = not is_replaced
    site.hosts.late.update(() if is_replaced else nodes)
    site.restart()
    for _ in range(4):
        site.tick(2.0)
    site.hosts.host_up()
    site.hosts.late.clear()
    site.hosts.answer()
    site.settle()

    assert {routes(one) for one in site.host.published[published:]} <= {10}
    assert site.router.table == table
    assert {count for node in nodes for count in site.host_of(node).loads.values()} == {1}
    assert len(site.hosted) == 10


def test_what_a_late_host_runs_is_taken_over_without_a_table_too() -> None:
    """Routers and watcher may be replaced together, as when the head of a cluster is."""
    site = ten_hosted(nodes=("n1", "n2"))
    site.settle()

    site.hosts.late.add("n1")
    site.router.table = RoutingTable(0)
    site.restart()
    for _ in range(4):
        site.tick(2.0)
    site.hosts.late.clear()
    site.hosts.answer()
    site.settle()

    assert routes(site.router.table) == 10
    assert site.host_of("n1").loads.total() + site.host_of("n2").loads.total() == 10


def test_hosted_versions_do_not_wait_for_those_that_need_room() -> None:
    """An own deployment may load for ever, for want of a GPU; a host knows itself how many it can load at a time."""
    own = tuple(ModelConfig(f"own{number}", f"/own{number}") for number in range(4))
    site = ten_hosted()
    site.model_list.configs = (*own, *site.model_list.configs)
    for config in own:
        site.source.write(config.base_path, 1)
    for _ in range(3):
        site.tick(2.0)
        site.hosts.progress()

    assert len(site.host.deployed) == 4
    assert len(site.hosted) == 10


def test_hosted_versions_that_load_keep_no_other_from_being_submitted() -> None:
    """Their host knows how many it can load at a time."""
    site = ten_hosted()
    site.tick()
    site.hosts.host_up()
    for _ in range(3):
        site.tick(2.0)

    assert len(site.hosted) == 10
    assert {one.state for name in site.watch.table.models for one in site.watch.table.statuses(name)} == {State.LOADING}


def test_a_version_that_a_new_watcher_only_knew_from_its_host_is_loaded_again_when_lost() -> None:
    """It has nothing to load it from but the list of models, as for a version that disappeared."""
    site = HostedSite()
    site.settle()
    site.restart()
    site.settle()

    site.host_of().die()
    site.settle()

    assert site.hosted == {"m:1"}
    assert site.router.table.resolve("m").host == "host@n1"


def test_a_model_that_is_no_longer_listed_leaves_its_host() -> None:
    """Routers first."""
    site = HostedSite()
    site.settle()

    site.model_list.configs = ()
    site.settle(12)

    assert site.hosted == set()
    assert site.router.table.apps == frozenset()


def test_a_hosted_model_that_asks_for_resources_is_refused_with_their_names() -> None:
    """A list of models that came another way than by our file, which says so at once."""
    config = ModelConfig("m", "/m", resources=replace(HOSTED, num_gpus=1.0))
    site = HostedSite(configs=(config,))
    for _ in range(3):
        site.tick(60.0)

    (status,) = site.watch.table.statuses("m", 1)

    assert (status.state, status.code) == (State.END, Code.INVALID_ARGUMENT)
    assert status.message == "The deployment was refused: a hosted version cannot have num_gpus"


def test_with_the_flag_a_light_version_is_hosted_and_a_heavy_one_is_not(saved_models: Path) -> None:
    """By its own files."""
    own, hosts = FakeServeHost(), FakeVersionHosts("n1")
    placing = PlacingHost(own, HostedVersions(hosts, Site().clock, lambda _: None))
    settings = ServerSettings(cluster=ClusterSettings(host_light_versions=True))
    paths = {"light": str(saved_models / "half_plus_two" / "1"), "none": "/nowhere/1"}

    for name, path in paths.items():
        placing.deploy(ServableSpec(ServableId(name, 1), path, settings), ModelResources())

    assert own.deployed == ["none:1"]
    assert placing.observe().keys() == {"none:1", "light:1"}


def test_an_application_of_the_same_name_is_deleted_and_not_the_hosted_copy() -> None:
    """The copy goes too, because the application is what counts."""
    site = HostedSite()
    site.settle()
    site.host.apps.update(FakeServeHost(["m:1"]).apps)

    site.settle()
    assert (site.hosted, site.host.running, site.router.table.hosts) == (set(), {"m:1"}, {})
    site.model_list.configs = ()
    site.settle(12)

    assert site.host.running == set()


def test_a_hosted_version_with_remote_files_needs_no_look_at_them() -> None:
    """A model may say so; the flag alone hosts nothing of remote storage."""
    own, hosts = FakeServeHost(), FakeVersionHosts("n1")
    placing = PlacingHost(own, HostedVersions(hosts, Site().clock, lambda _: None))
    settings = ServerSettings(cluster=ClusterSettings(host_light_versions=True))

    placing.deploy(ServableSpec(ServableId("told", 1), "s3://b/m/1", settings), HOSTED)
    placing.deploy(ServableSpec(ServableId("light", 1), "s3://b/m/1", settings), ModelResources())

    assert own.deployed == ["light:1"]


def test_refusals_are_raised_where_the_watcher_takes_them() -> None:
    """As Serve's own are."""
    placing = PlacingHost(FakeServeHost(), HostedVersions(FakeVersionHosts("n1"), Site().clock, lambda _: None))

    with pytest.raises(ConfigError):
        placing.deploy(ServableSpec(ServableId("m", 1), "/m/1"), replace(HOSTED, num_cpus=1.0))
