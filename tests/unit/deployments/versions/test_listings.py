"""What storage said last, when it is asked again, and that no store stops another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

import pytest

from core.config.model_config import ModelConfig, ModelResources
from core.config.server_settings import PollingSettings
from core.config.version_policy import VersionPolicy
from core.storage.version_listing import MISSED, VersionListing
from deployments.storage.version_source import VersionSource
from deployments.versions.background_listings import LISTINGS_AT_A_TIME, StoreThreads
from deployments.versions.listings import NEVER, REMOTE_SECOND_LOOK_S, SILENT_AFTER_S, Listings
from tests.support.clients import wait_until
from tests.support.fakes import HALF_WRITTEN, FakeSource
from tests.support.stores.fake_store import FakeBackground
from tests.support.stores.object_store import Bucket

WALL_S = 1e9
LOCAL = ModelConfig("local", "/m")
REMOTE = ModelConfig("remote", "s3://bucket/m")
POLLING = PollingSettings(file_system_poll_wait_s=1, remote_poll_wait_s=30)
ONCE = PollingSettings(file_system_poll_wait_s=0, remote_poll_wait_s=0)


class Site:
    """Listings over storage in memory; remote answers come when the test says so."""

    def __init__(self, *models: ModelConfig, polling: PollingSettings = POLLING) -> None:
        self.source = FakeSource({"/m": (1,), REMOTE.base_path: (1,)})
        self.background = FakeBackground()
        self.models = models or (LOCAL, REMOTE)
        self.listings = Listings(self.source, polling, self.background)
        self.now_s = 100.0

    def tick(self, after_s: float = 0.0) -> None:
        """Refresh some seconds later."""
        self.now_s += after_s
        self.listings.refresh(self.models, self.now_s, WALL_S + self.now_s)

    def round(self, after_s: float = 30.0) -> None:
        """Ask, and take the answer at a later tick."""
        self.tick(after_s)
        self.background.work()
        self.tick()

    def versions(self, model: str = "remote") -> set[int]:
        """Return the versions that are known."""
        listing = self.listings.by_model[model].listing
        return set(listing.versions) if listing is not None else set()

    def waiting(self, model: str = "remote") -> dict[int, str]:
        """Return the versions that wait."""
        return dict(self.listings.by_model[model].waiting)

    def problems(self) -> dict[str, str]:
        """Return why models have nothing to load."""
        return {name: one.problem for name, one in self.listings.by_model.items() if one.problem}


def test_a_remote_answer_is_taken_by_a_later_tick() -> None:
    """A tick waits for local storage only."""
    site = Site()

    site.tick()
    assert set(site.listings.by_model) == {"local"}
    site.background.work()
    site.tick()

    assert site.versions() == {1}
    assert site.waiting() == {}


def test_each_kind_of_storage_has_its_own_period() -> None:
    """Looks at remote storage cost money."""
    site = Site()

    for _ in range(60):
        site.round(after_s=1.0)

    assert site.source.listed["/m"] == 60
    assert site.source.listed[REMOTE.base_path] == 2


def test_a_remote_base_path_is_not_asked_twice_at_a_time() -> None:
    """However slow it is."""
    site = Site()

    for _ in range(5):
        site.tick(31.0)

    assert site.background.stores == ["s3://bucket"]


def test_each_round_costs_one_listing_for_each_model(bucket: Bucket) -> None:
    """Counted at a real S3: as many requests as models, however many versions they have."""
    for model in ("a", "b", "c"):
        for version in range(1, 5):
            bucket.put_files(f"{model}/{version}", {"saved_model.pb": b"m", "variables/variables.index": b"i"})
    models = [ModelConfig(name, bucket.url(name)) for name in ("a", "b", "c")]
    background = FakeBackground()
    listings = Listings(VersionSource(), POLLING, background)

    for number in range(1, 4):
        listings.refresh(models, number * 100.0, WALL_S)
        background.work()
        listings.refresh(models, number * 100.0, WALL_S)
        assert len(bucket.proxy.seen) == 3 * number

    assert set(listings.by_model) == {"a", "b", "c"}
    assert bucket.proxy.listings == len(bucket.proxy.seen)


def test_a_poll_period_of_zero_looks_once() -> None:
    """What is found complete is never asked for again."""
    site = Site(polling=ONCE)

    for _ in range(50):
        site.round(after_s=100.0)

    assert site.source.listed == {"/m": 1, REMOTE.base_path: 1}
    assert site.listings.due_s == NEVER


def test_looking_once_includes_the_time_that_an_upload_takes() -> None:
    """Until every version is complete."""
    site = Site(polling=ONCE)
    site.source.write(REMOTE.base_path, 2, HALF_WRITTEN)
    site.round()
    assert set(site.waiting()) == {2}

    site.source.write(REMOTE.base_path, 2, changed_s=None)
    site.round(after_s=REMOTE_SECOND_LOOK_S)
    site.round(after_s=REMOTE_SECOND_LOOK_S)

    assert site.waiting() == {}
    assert site.listings.due_s == NEVER


def test_a_version_that_appears_file_by_file_waits() -> None:
    """Each look finds one file more; only when two looks agree is it whole."""
    site = Site(REMOTE)
    files = ["variables/variables.index", "variables/variables.data-00000-of-00001", "saved_model.pb"]
    site.round()
    for count in (1, 2, 3):
        site.source.write(REMOTE.base_path, 2, files[:count], changed_s=WALL_S + site.now_s + 30.0)
        site.round()
        assert 2 in site.waiting()

    site.round()

    assert site.waiting() == {}


def test_a_version_that_lay_still_for_long_is_taken_at_once() -> None:
    """A server that starts need not look twice at what was uploaded yesterday."""
    site = Site(REMOTE)

    site.round()

    assert (site.waiting(), site.listings.by_model["remote"].is_unsure) == ({}, False)


def test_a_marker_file_counts_in_remote_storage_as_well() -> None:
    """With it a version is complete at the first look, without it never."""
    marked = ModelConfig("remote", REMOTE.base_path, resources=ModelResources(marker_file="_SUCCESS"))
    site = Site(marked)
    site.source.write(REMOTE.base_path, 2, ("saved_model.pb", "_SUCCESS"), changed_s=WALL_S + 1e6)

    site.round()

    assert site.waiting() == {1: "waits for the marker file _SUCCESS"}


def test_a_version_that_one_listing_misses_stays() -> None:
    """Some stores forget for a moment; it may not be loaded meanwhile."""
    site = Site(REMOTE)
    site.source.write(REMOTE.base_path, 2)
    site.round()
    directory = site.source.directories[REMOTE.base_path][2]

    site.source.remove(REMOTE.base_path, 2)
    site.round()
    assert (site.versions(), site.waiting()) == ({1, 2}, {2: MISSED})
    site.source.directories[REMOTE.base_path][2] = directory
    site.round()

    assert (site.versions(), site.waiting()) == ({1, 2}, {})


def test_a_version_that_is_deleted_goes_at_the_second_look() -> None:
    """As in TensorFlow Serving, one look later."""
    site = Site(REMOTE)
    site.source.write(REMOTE.base_path, 2)
    site.round()
    site.source.remove(REMOTE.base_path, 2)

    site.round()
    site.round()

    assert (site.versions(), site.waiting()) == ({1}, {})


def test_a_local_version_goes_at_once() -> None:
    """A file system does not flicker."""
    site = Site(LOCAL)
    site.source.write("/m", 2)
    site.tick()
    site.source.remove("/m", 2)

    site.tick(1.0)

    assert site.versions("local") == {1}


def test_an_error_keeps_what_was_known() -> None:
    """Nothing is unloaded because a store is away; afterwards two listings are compared again."""
    site = Site(REMOTE)
    site.round()

    site.source.errors[REMOTE.base_path] = "UNAVAILABLE: s3://bucket/m: the store cannot be reached"
    site.round()
    assert site.versions() == {1}
    assert site.problems() == {
        "remote": "Could not find base path s3://bucket/m for servable remote with error "
        "UNAVAILABLE: s3://bucket/m: the store cannot be reached"
    }
    site.source.errors.clear()
    site.round()

    assert (site.versions(), site.problems()) == ({1}, {})


def test_a_password_in_a_base_path_is_not_shown() -> None:
    """Everybody may ask for the list of models."""
    site = Site(ModelConfig("remote", "sftp://user:secret@host/m"))

    site.round()

    assert "sftp://***@host/m" in site.problems()["remote"]
    assert "secret" not in site.problems()["remote"]


def test_a_store_that_never_answers_is_a_problem_of_its_models_only() -> None:
    """The text does not change while it is silent."""
    site = Site()
    site.tick()
    site.tick(SILENT_AFTER_S)
    assert site.problems() == {}

    site.tick(1.0)
    first = site.problems()
    site.tick(500.0)

    assert first == site.problems()
    assert set(first) == {"remote"}
    assert first["remote"].endswith("with error UNAVAILABLE: no answer for 60 s")
    assert site.versions("local") == {1}


def test_a_late_answer_is_taken_all_the_same() -> None:
    """The problem is over then."""
    site = Site(REMOTE)
    site.tick()
    site.tick(SILENT_AFTER_S + 1.0)

    site.background.work()
    site.tick()

    assert (site.versions(), site.problems()) == ({1}, {})


def test_a_model_that_moves_is_listed_at_once() -> None:
    """And what the old place answers later does not count."""
    site = Site(REMOTE)
    site.source.write("s3://other/m", 7)
    site.round()
    site.tick(30.0)

    site.models = (ModelConfig("remote", "s3://other/m"),)
    site.round(after_s=1.0)

    assert site.versions() == {7}
    assert site.waiting() == {}


def test_a_model_that_goes_is_forgotten() -> None:
    """Its answer may still come."""
    site = Site()
    site.tick()
    site.models = (LOCAL,)

    site.tick(1.0)
    site.background.work()
    site.tick(1.0)

    assert set(site.listings.by_model) == {"local"}


def test_the_period_of_remote_storage_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """An operator can see why a version does not come at once."""
    site = Site(REMOTE)

    with caplog.at_level(logging.INFO):
        site.round()
        site.round()

    assert [one for one in caplog.messages if one.startswith("remote_storage")] == [
        "remote_storage model=remote base_path=s3://bucket/m poll_s=30"
    ]


class HangingSource:
    """Some base paths never answer; implements `core.storage.version_listing.Source`."""

    def __init__(self, hanging: Iterable[str]) -> None:
        self.go_on = threading.Event()
        self.answered: list[str] = []
        self._hanging = tuple(hanging)

    def list_versions(self, base_path: str, policy: VersionPolicy, subpath: str = "") -> VersionListing:
        """Answer, or hang."""
        del policy, subpath
        if base_path.startswith(self._hanging):
            self.go_on.wait(60)
        self.answered.append(base_path)
        return VersionListing()


def test_a_hanging_store_stops_no_other_store_and_no_tick() -> None:
    """However many models lie there: the others' threads are their own."""
    source = HangingSource(["s3://hangs"])
    hanging = [ModelConfig(f"h{number}", f"s3://hangs/{number}") for number in range(3 * LISTINGS_AT_A_TIME)]
    healthy = [ModelConfig("healthy", "gs://works/m"), ModelConfig("local", "/m")]
    listings = Listings(source, POLLING, StoreThreads())

    listings.refresh([*hanging, *healthy], 1.0, WALL_S)
    wait_until(lambda: "gs://works/m" in source.answered, "the healthy store has answered")
    listings.refresh([*hanging, *healthy], 1.0, WALL_S)

    assert set(listings.by_model) == {"healthy", "local"}
    assert sum(thread.name == "lists s3://hangs" for thread in threading.enumerate()) == LISTINGS_AT_A_TIME
    source.go_on.set()
    wait_until(lambda: len(source.answered) == len(hanging) + 2, "every listing has ended")
