"""The watcher's ticks over remote storage: nobody waits for a store, and its troubles are news only once."""

from __future__ import annotations

from dataclasses import replace

from core.config.model_config import ModelConfig, ModelResources
from core.config.server_settings import ModelSourceSettings, PollingSettings
from core.storage.retry_policy import RetryPolicy
from core.storage.version_listing import Source
from core.versions.servable_spec import ServableSpec
from deployments.storage.remote_store import FsspecStore, RetryingStore
from deployments.storage.version_source import VersionSource
from tests.support.clients import wait_until
from tests.support.fakes import FakeServeHost
from tests.support.sites import SETTINGS, Site
from tests.support.stores.fault_proxy import fails
from tests.support.stores.object_store import Bucket

REMOTE = ModelConfig("m", "s3://bucket/m")
POLLED = replace(SETTINGS, polling=PollingSettings(file_system_poll_wait_s=1, remote_poll_wait_s=1))


class RememberingHost(FakeServeHost):
    """Keeps what model servers are told."""

    def __init__(self, running=(), routers=()) -> None:
        super().__init__(running, routers)
        self.specs: list[ServableSpec] = []

    def deploy(self, spec: ServableSpec, resources: ModelResources) -> None:
        super().deploy(spec, resources)
        self.specs.append(spec)


def remote_site(
    source: Source | None = None, config: ModelConfig = REMOTE, files: ModelSourceSettings = POLLED.source
) -> Site:
    """Make a watcher of one model in a store."""
    site = Site(configs=(config,), settings=replace(POLLED, source=files))
    site.source.write(REMOTE.base_path, 1)
    site.source = source or site.source
    site.host = RememberingHost((), [site.router])
    site.restart()
    return site


def tick_until(site: Site, is_true, what: str) -> None:
    """Turn ticks, some seconds apart, until a condition holds."""

    def ticked() -> bool:
        site.tick(2.0)
        return is_true()

    wait_until(ticked, what)


def test_a_model_server_is_told_what_was_listed() -> None:
    """By it, a version that was fetched before is found without asking the store."""
    site = remote_site()

    tick_until(site, lambda: site.host.deployed == ["m:1"], "version 1 is deployed")

    directory = site.source.directories[REMOTE.base_path][1]
    (spec,) = site.host.specs
    assert (spec.path, spec.fingerprint) == ("s3://bucket/m/1", directory.fingerprint)


def test_a_store_that_goes_on_failing_makes_no_new_tables(bucket: Bucket) -> None:
    """Every answer has other ids; routers hear of the trouble once, and of its end."""
    bucket.put("m/1/saved_model.pb", b"model")
    config = ModelConfig("m", bucket.url("m"))
    site = remote_site(VersionSource(RetryingStore(FsspecStore(), RetryPolicy(1), lambda _: None)), config)
    tick_until(site, lambda: 1 in site.watch.table.models["m"].waiting or site.host.deployed, "version 1 is known")
    bucket.proxy.inject(fails(503, "SlowDown"))
    tick_until(site, lambda: "SlowDown" in site.watch.table.models["m"].problem, "the trouble shows")
    generation, asked = site.watch.table.generation, bucket.proxy.listings

    tick_until(site, lambda: bucket.proxy.listings > asked + 5, "the store has failed five times more")

    assert site.watch.table.generation == generation
    bucket.proxy.heal()
    tick_until(site, lambda: site.watch.table.models["m"].problem == "", "the trouble is over")


def test_the_server_does_not_count_as_started_before_a_store_has_answered() -> None:
    """Its port opens when it is known what there is to load."""
    site = remote_site()
    site.tick()
    assert not site.watch.table.settled

    site.source.directories[REMOTE.base_path].clear()
    tick_until(site, lambda: site.watch.table.settled, "there is nothing to load")


def test_a_model_server_is_told_where_in_a_version_its_model_lies(bucket: Bucket) -> None:
    """Its files alone are fetched, and with another subpath the next version is looked for there."""
    source = ModelSourceSettings(model_config_file_poll_wait_s=1)
    deeper = ModelConfig("m", bucket.url("m"), version_subpath="data/model")
    bucket.put_files("m/1", {"MLmodel": b"flavors", "data/model/saved_model.pb": b"model"})
    site = remote_site(VersionSource(RetryingStore(FsspecStore(), RetryPolicy(1), lambda _: None)), deeper, source)
    tick_until(site, lambda: site.host.deployed == ["m:1"], "version 1 is deployed")
    site.model_list.configs = (replace(deeper, version_subpath="tf2model"),)
    bucket.put_files("m/2", {"MLmodel": b"flavors", "tf2model/saved_model.pb": b"model"})
    tick_until(site, lambda: len(site.host.specs) == 2, "version 2 is deployed")

    assert [spec.path for spec in site.host.specs] == [
        f"{bucket.url('m')}/1/data/model",
        f"{bucket.url('m')}/2/tf2model",
    ]
    assert bucket.proxy.reads() == 0
