"""Local storage between polls: what the kernel tells of is listed at once, and what is being written soon again."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.config.model_config import ModelConfig
from core.config.server_settings import PollingSettings
from core.storage.followed_folders import Names
from core.storage.second_look import QUICK_LOOK_S
from core.storage.version_listing import QUIET_S, MovedIn
from core.storage.whole_saved_model import REST_S
from deployments.storage.folder_events import FolderEvents
from deployments.storage.version_source import VersionSource
from deployments.versions.listings import Listings
from tests.support.clients import wait_until
from tests.support.fakes import COMPLETE, HALF_WRITTEN, FakeSource
from tests.support.stores.fake_store import FakeBackground
from tests.support.zoo_models import zoo_folder

WALL_S = 1e9
SELDOM = PollingSettings(file_system_poll_wait_s=60, remote_poll_wait_s=60)
FOUND_WITHIN_S = 20.0
PUSHED = zoo_folder("tfx_pushed", 1764374400)


class FakeEvents:
    """Events that a test makes; implements `deployments.versions.listings.Events`."""

    def __init__(self) -> None:
        self.followed: dict[str, Mapping[str, Names]] = {}
        self.happened: dict[str, dict[str, float]] = {}

    def follow(self, follower: str, folders: Mapping[str, Names]) -> None:
        """Remember the folders."""
        self.followed[follower] = folders

    def forget(self, follower: str) -> None:
        """Forget them."""
        self.followed.pop(follower, None)

    def take(self) -> Mapping[str, MovedIn]:
        """Tell what the test made happen."""
        happened, self.happened = self.happened, {}
        return happened


class Site:
    """Two models in memory, polled once a minute."""

    def __init__(self, polling: PollingSettings = SELDOM) -> None:
        self.source = FakeSource({"/a": (1,), "/b": (1,)})
        self.events = FakeEvents()
        self.models = [ModelConfig("a", "/a"), ModelConfig("b", "/b")]
        self.listings = Listings(self.source, polling, FakeBackground(), self.events)
        self.now_s = 100.0
        self.tick()

    def tick(self, after_s: float = 0.0) -> None:
        """Refresh some seconds later."""
        self.now_s += after_s
        self.listings.refresh(self.models, self.now_s, WALL_S + self.now_s)

    def write(self, version: int, *files: str) -> None:
        """Write a version of the first model just now."""
        self.source.write("/a", version, files or COMPLETE, changed_s=WALL_S + self.now_s)

    def stir(self, *moved_in: str) -> None:
        """Let something happen in the first model's folder, and refresh."""
        self.events.happened = {"a": dict.fromkeys(moved_in, WALL_S + self.now_s)}
        self.tick()

    @property
    def waiting(self) -> set[int]:
        """The versions of the first model that wait."""
        return set(self.listings.by_model["a"].waiting)


def test_an_event_lists_its_model_and_no_other() -> None:
    """However long it is until the poll."""
    site = Site()

    site.stir()

    assert site.source.listed == {"/a": 2, "/b": 1}


def test_a_version_moved_into_place_is_complete_at_once() -> None:
    """No second look is needed."""
    site = Site()
    site.write(2)

    site.stir("/a/2")

    assert site.waiting == set()
    assert site.listings.due_s == pytest.approx(160.0)


def test_a_version_written_in_place_is_complete_when_it_rests() -> None:
    """It is looked at several times within a second, and then no more."""
    site = Site()
    site.write(2, *HALF_WRITTEN)
    site.stir()
    site.write(2)
    site.tick(QUICK_LOOK_S)
    site.tick(QUIET_S / 2)
    assert site.waiting == {2}
    assert site.listings.due_s <= site.now_s + QUICK_LOOK_S

    site.tick(QUIET_S)

    assert site.waiting == set()
    assert site.listings.due_s == pytest.approx(160.0)
    assert site.source.listed["/b"] == 1


def test_a_version_that_nobody_writes_is_left_to_events_and_polls() -> None:
    """A half of one may lie there for ever; a file that comes is looked at."""
    site = Site()
    site.write(2, *HALF_WRITTEN)
    site.stir()
    for _ in range(100):
        site.tick(QUICK_LOOK_S)
    looks = site.source.listed["/a"]
    assert looks < 20

    site.tick(QUICK_LOOK_S)
    assert site.source.listed["/a"] == looks
    site.stir()
    assert site.source.listed["/a"] == looks + 1


@pytest.mark.parametrize("period_s", [0, -1])
def test_without_polling_nothing_is_followed(period_s: int) -> None:
    """Who looks once wants no version that comes later."""
    site = Site(PollingSettings(file_system_poll_wait_s=period_s))
    site.write(2)

    site.stir("/a/2")

    assert site.events.followed == {}
    assert site.source.listed == {"/a": 1, "/b": 1}


def test_a_model_that_goes_is_followed_no_more() -> None:
    """Nor one whose versions lie elsewhere now."""
    site = Site()
    site.models = [ModelConfig("b", "s3://bucket/b")]

    site.tick()

    assert site.events.followed == {}


class RealSite:
    """A model on the real disk, polled once a minute, and looked at when the kernel says so."""

    def __init__(self, base_path: Path, subpath: str = "") -> None:
        self.model = ModelConfig("m", str(base_path), version_subpath=subpath)
        self.woken = threading.Event()
        self.events = FolderEvents(self.woken.set)
        self.listings = Listings(VersionSource(), SELDOM, FakeBackground(), self.events)
        self.tick()

    def tick(self) -> None:
        """Refresh now."""
        self.listings.refresh([self.model], time.monotonic(), time.time())

    def wait(self, *versions: int) -> None:
        """Wait until the versions are found, and complete."""
        wait_until(lambda: self.found() == set(versions), f"found {versions}", FOUND_WITHIN_S)

    def found(self) -> set[int]:
        """Return the complete versions, after a look if one is due."""
        if self.woken.is_set() or time.monotonic() >= self.listings.due_s:
            self.woken.clear()
            self.tick()
        known = self.listings.by_model["m"]
        return set(known.listing.versions) - set(known.waiting) if known.listing is not None else set()


def whole(folder: Path) -> Path:
    """Write a version elsewhere."""
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"model")
    return folder


def test_versions_are_found_between_polls(tmp_path: Path) -> None:
    """As they are moved into place, and as they go."""
    (tmp_path / "m").mkdir()
    site = RealSite(tmp_path / "m")

    whole(tmp_path / "copy").rename(tmp_path / "m" / "1")
    site.wait(1)
    whole(tmp_path / "copy").rename(tmp_path / "m" / "2")
    site.wait(1, 2)
    (tmp_path / "m" / "1").rename(tmp_path / "copy")
    site.wait(2)

    site.events.close()


def test_a_base_path_that_appears_is_found_between_polls(tmp_path: Path) -> None:
    """Also when it is replaced by another, and after it was away for a while."""
    base = tmp_path / "m"
    site = RealSite(base)
    whole(tmp_path / "old" / "1")
    whole(tmp_path / "new" / "2")

    (tmp_path / "old").rename(base)
    site.wait(1)
    whole(tmp_path / "copy").rename(base / "3")
    site.wait(1, 3)

    base.rename(tmp_path / "older")
    (tmp_path / "new").rename(base)
    whole(tmp_path / "copy").rename(base / "4")
    site.wait(2, 4)

    site.events.close()


def test_a_folder_that_is_moved_into_place_and_then_filled_waits_for_its_files(tmp_path: Path) -> None:
    """The rename brought only the folder; what the kernel told of it is not the whole story."""
    base = tmp_path / "m"
    base.mkdir()
    (tmp_path / "empty").mkdir()
    site = RealSite(base)

    (tmp_path / "empty").rename(base / "5")
    deadline_s = time.monotonic() + FOUND_WITHIN_S
    with (base / "5" / "saved_model.pb").open("wb", buffering=0) as model:
        is_told = False
        while not is_told:
            assert time.monotonic() < deadline_s
            is_told = site.woken.is_set()
            model.write(b"part")
        site.tick()
        assert site.listings.by_model["m"].waiting.keys() == {5}
    site.wait(5)

    site.events.close()


@pytest.mark.parametrize("how", ["anew", "by a rename"])
def test_a_link_that_is_set_to_another_folder_is_found_between_polls(tmp_path: Path, how: str) -> None:
    """A base path may be a link to the release of the day (`ln -sfn`, `mv -T`)."""
    base = tmp_path / "m"
    whole(tmp_path / "monday" / "1")
    whole(tmp_path / "tuesday" / "2")
    base.symlink_to("monday")
    site = RealSite(base)
    site.wait(1)

    if how == "anew":
        base.unlink()
        base.symlink_to("tuesday")
    else:
        (tmp_path / "next").symlink_to("tuesday")
        (tmp_path / "next").rename(base)
    site.wait(2)
    whole(tmp_path / "copy").rename(tmp_path / "tuesday" / "3")
    site.wait(2, 3)

    site.events.close()


def test_a_model_that_lies_deeper_is_found_between_polls(tmp_path: Path) -> None:
    """As its artifact is moved into place, and as it is written there folder by folder."""
    base = tmp_path / "m"
    base.mkdir()
    site = RealSite(base, "data/model")

    whole(tmp_path / "artifact" / "data" / "model")
    (tmp_path / "artifact").rename(base / "1")
    site.wait(1)
    (base / "2").mkdir()
    site.wait(1)
    (base / "2" / "MLmodel").write_text("flavors: {}")
    site.wait(1)
    wait_until(lambda: site.found() == {1} and site.listings.due_s > time.monotonic() + 10, "nobody looks", 20)
    (base / "2" / "data").mkdir()
    wait_until(site.woken.is_set, "the kernel told of a folder on the way")
    site.wait(1)
    whole(base / "2" / "data" / "model")
    site.wait(1, 2)

    site.events.close()


def pushed(folder: Path, *files: str) -> None:
    """Copy files of a real model as they are named, one after another."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes((PUSHED / file).read_bytes())


def test_a_version_whose_model_was_written_last_needs_no_second_look(tmp_path: Path) -> None:
    """As TFX's Pusher leaves it; another order of the same files waits as long as ever."""
    base = tmp_path / "m"
    base.mkdir()
    first, *others = sorted(str(path.relative_to(PUSHED)) for path in PUSHED.rglob("*") if path.is_file())
    assert first == "assets.extra/tf_serving_warmup_requests"
    others.remove("saved_model.pb")

    pushed(base / "1764374400", first, *others, "saved_model.pb")
    pushed(base / "1764374401", *others, "saved_model.pb", first)
    listings = Listings(VersionSource(), SELDOM, FakeBackground())
    written_s = (base / "1764374401" / first).stat().st_ctime
    model = [ModelConfig("m", str(base))]
    listings.refresh(model, 100.0, written_s + REST_S / 2)
    assert set(listings.by_model["m"].waiting) == {1764374400, 1764374401}
    listings.refresh(model, listings.due_s, written_s + QUICK_LOOK_S)

    assert set(listings.by_model["m"].waiting) == {1764374401}


def test_a_first_look_is_enough_for_a_version_whose_model_was_written_last(tmp_path: Path) -> None:
    """Storage that sends no events is polled once."""
    files = sorted(str(path.relative_to(PUSHED)) for path in PUSHED.rglob("*") if path.is_file())
    files.remove("saved_model.pb")
    pushed(tmp_path / "m" / "1764374400", *files, "saved_model.pb")
    listings = Listings(VersionSource(), SELDOM, FakeBackground())

    listings.refresh([ModelConfig("m", str(tmp_path / "m"))], 100.0, time.time() + REST_S)

    assert not listings.by_model["m"].waiting
