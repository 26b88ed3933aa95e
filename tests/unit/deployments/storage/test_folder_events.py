"""What the kernel tells of folders: real files, and what goes wrong with them."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from inotify_simple import Event, INotify, flags

from core.storage.followed_folders import Names
from deployments.storage.folder_events import FolderEvents
from tests.support.clients import wait_until

TOLD_WITHIN_S = 20.0


class Follower:
    """A follower that gathers what it is told; every name is of interest unless said otherwise."""

    def __init__(self) -> None:
        self.wakes = 0
        self.events = FolderEvents(self._woken)
        self.told: dict[str, set[str]] = {}

    def _woken(self) -> None:
        self.wakes += 1

    def follow(self, follower: str, *folders: Path, names: Names = bool) -> None:
        """Follow some folders."""
        self.events.follow(follower, {str(folder): names for folder in folders})

    def told_of(self, follower: str) -> bool:
        """Whether anything happened for a follower so far."""
        for name, paths in self.events.take().items():
            self.told.setdefault(name, set()).update(paths)
        return follower in self.told

    def wait(self, follower: str = "m") -> set[str]:
        """Wait until something happened; gives what was moved in."""
        wait_until(lambda: self.told_of(follower), f"nothing was told of {follower}", TOLD_WITHIN_S)
        return self.told.pop(follower)

    def settle(self, folder: Path) -> None:
        """Wait until everything up to now has been told, and forget it."""
        self.follow("settled", folder)
        (folder / "settled").touch()
        self.wait("settled")
        self.told.clear()


@pytest.fixture
def follower() -> Iterator[Follower]:
    one = Follower()
    yield one
    one.events.close()


def test_a_new_version_wakes_its_follower_and_no_other(follower: Follower, tmp_path: Path) -> None:
    """Only the models concerned are listed again."""
    ours, other = tmp_path / "ours", tmp_path / "other"
    ours.mkdir()
    other.mkdir()
    follower.follow("m", ours)
    follower.follow("other", other)

    (ours / "1").mkdir()

    assert follower.wait() == set()
    wait_until(lambda: follower.wakes > 0, "woken", TOLD_WITHIN_S)
    assert not follower.told


def test_what_is_moved_in_is_told_by_its_path(follower: Follower, tmp_path: Path) -> None:
    """A folder that came by one rename is whole, and one that is made is not."""
    (tmp_path / "copy").mkdir()
    base = tmp_path / "m"
    base.mkdir()
    follower.follow("m", base)

    (base / "1").mkdir()
    (tmp_path / "copy").rename(base / "2")
    wait_until(lambda: follower.told_of("m") and bool(follower.told["m"]), "told of the rename", TOLD_WITHIN_S)

    assert follower.told == {"m": {str(base / "2")}}


@pytest.mark.parametrize("change", ["remove", "move away", "remove the folder", "move the folder"])
def test_what_disappears_is_told(follower: Follower, tmp_path: Path, change: str) -> None:
    """A version is unloaded as soon as it is gone."""
    base = tmp_path / "m"
    (base / "1").mkdir(parents=True)
    follower.follow("m", base)

    match change:
        case "remove":
            (base / "1").rmdir()
        case "move away":
            (base / "1").rename(tmp_path / "1")
        case "remove the folder":
            shutil.rmtree(base)
        case _:
            base.rename(tmp_path / "elsewhere")

    assert follower.wait() == set()


def test_names_of_no_interest_wake_nobody(follower: Follower, tmp_path: Path) -> None:
    """Somebody may write logs beside versions."""
    follower.follow("m", tmp_path, names=str.isdecimal)

    (tmp_path / "log.txt").touch()
    follower.settle(tmp_path)
    assert not follower.told
    (tmp_path / "7").mkdir()

    assert follower.wait() == set()


def test_a_folder_that_is_replaced_is_followed_again(follower: Follower, tmp_path: Path) -> None:
    """The watch belongs to the folder, not to its name; the next listing renews it."""
    base, spare = tmp_path / "m", tmp_path / "spare"
    base.mkdir()
    spare.mkdir()
    follower.follow("m", base)
    base.rename(tmp_path / "old")
    spare.rename(base)
    follower.wait()

    follower.follow("m", base)
    (base / "1").mkdir()
    follower.wait()
    (tmp_path / "old" / "2").mkdir()
    follower.settle(tmp_path)

    assert not follower.told


def test_a_folder_that_comes_again_is_followed_again(follower: Follower, tmp_path: Path) -> None:
    """Removed and made anew, it is another folder of the same name."""
    base = tmp_path / "m"
    for number in range(3):
        base.mkdir()
        follower.follow("m", base)
        (base / str(number)).mkdir()
        follower.wait()
        shutil.rmtree(base)
        follower.wait()
        follower.follow("m", base)


def test_a_folder_that_is_not_there_is_no_error(
    follower: Follower, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is looked for with each listing, and a file is no folder."""
    (tmp_path / "file").touch()

    follower.follow("m", tmp_path / "none", tmp_path / "file", tmp_path / "file" / "below")
    follower.follow("m", tmp_path)
    (tmp_path / "1").mkdir()

    assert follower.wait() == set()
    assert not caplog.records


def test_several_paths_and_followers_of_one_folder_are_all_told(follower: Follower, tmp_path: Path) -> None:
    """Models may share a base path, and links lead to it."""
    base, link = tmp_path / "m", tmp_path / "link"
    base.mkdir()
    link.symlink_to(base)
    follower.follow("m", base)
    follower.follow("twin", base)
    follower.follow("linked", link)

    follower.events.forget("twin")
    (base / "1").mkdir()
    follower.wait("m")
    follower.wait("linked")
    follower.events.forget("m")
    (base / "2").mkdir()

    assert follower.wait("linked") == set()
    assert not follower.told


def test_what_is_forgotten_is_not_told(follower: Follower, tmp_path: Path) -> None:
    """Neither what happens later, nor what happened and was not asked for yet."""
    base = tmp_path / "m"
    base.mkdir()
    follower.follow("m", base)
    (base / "1").mkdir()
    wait_until(lambda: follower.wakes > 0, "told of the first", TOLD_WITHIN_S)

    follower.events.forget("m")
    (base / "2").mkdir()
    follower.settle(tmp_path)

    assert not follower.told


def test_a_storm_wakes_seldom_and_loses_nothing(follower: Follower, tmp_path: Path) -> None:
    """A writer of thousands of files costs a few looks; the last file is told as well as the first."""
    base = tmp_path / "m"
    base.mkdir()
    follower.follow("m", base)

    for number in range(5000):
        (base / str(number)).touch()
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole").rename(base / "whole")
    wait_until(lambda: follower.told_of("m") and str(base / "whole") in follower.told["m"], "the last", TOLD_WITHIN_S)

    assert follower.wakes < 500


def test_when_the_kernel_loses_events_every_follower_looks(
    follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue has an end."""
    lost = Event(-1, flags.Q_OVERFLOW, 0, "")
    read: Callable[..., list[Event]] = INotify.read
    monkeypatch.setattr(INotify, "read", lambda self, timeout: [lost, *read(self, timeout=timeout)])
    for name in ("m", "other"):
        (tmp_path / name).mkdir()
        follower.follow(name, tmp_path / name)

    (tmp_path / "m" / "1").mkdir()

    assert follower.wait("m") == set()
    assert follower.told_of("other")


def refused(number: int) -> Callable[..., int]:
    """Return a call that the kernel refuses."""

    def call(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return call


def test_at_the_limit_of_watches_one_line_says_so(
    follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that are watched stay so, and polling finds the rest."""
    follower.follow("m", tmp_path)
    with monkeypatch.context() as limited, caplog.at_level(logging.WARNING):
        limited.setattr(INotify, "add_watch", refused(errno.ENOSPC))
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            follower.follow(name, tmp_path / name)

    follower.wait("m")
    (tmp_path / "c").mkdir()

    assert follower.wait("m") == set()
    assert [record.getMessage().split()[0] for record in caplog.records] == ["folder_events_refused"]


def test_without_any_watch_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A user may have as many instances as the kernel allows, and containers share them."""
    monkeypatch.setattr(INotify, "__init__", refused(errno.EMFILE))
    with caplog.at_level(logging.WARNING):
        follower = Follower()

    follower.follow("m", tmp_path)
    follower.events.forget("m")
    follower.events.close()

    assert follower.events.take() == {}
    assert [record.getMessage().split()[0] for record in caplog.records] == ["folder_events_refused"]


def test_closed_it_ends_its_thread(tmp_path: Path) -> None:
    """And what follows then is not told."""
    follower = Follower()
    follower.follow("m", tmp_path)
    threads = {one for one in threading.enumerate() if one.name == "folder-events"}

    follower.events.close()
    follower.events.close()
    wait_until(lambda: not any(one.is_alive() for one in threads), "no thread", TOLD_WITHIN_S)

    follower.follow("m", tmp_path)


def test_folders_come_and_go_while_they_are_written_to(follower: Follower, tmp_path: Path) -> None:
    """Following and reading are two threads; none of them fails, and the last state is right."""
    bases = [tmp_path / str(number) for number in range(20)]

    def write(stopped: threading.Event) -> None:
        while not stopped.is_set():
            for base in bases:
                (base / "1").mkdir(parents=True, exist_ok=True)
                shutil.rmtree(base, ignore_errors=True)

    stopped = threading.Event()
    writer = threading.Thread(target=write, args=[stopped])
    writer.start()
    for _ in range(100):
        for base in bases:
            follower.follow(base.name, base)
        follower.events.take()
    stopped.set()
    writer.join()

    kept: Mapping[str, Path] = {base.name: base for base in bases}
    for base in kept.values():
        base.mkdir(exist_ok=True)
        follower.follow(base.name, base)
    follower.settle(tmp_path)
    for base in kept.values():
        (base / "last").mkdir()
    for name in kept:
        follower.wait(name)


@pytest.fixture
def may_read(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let no event be read until this is set, so that all are read at once."""
    allowed = threading.Event()
    read: Callable[..., list[Event]] = INotify.read

    def read_late(inotify: INotify, timeout: int) -> list[Event]:
        allowed.wait(TOLD_WITHIN_S)
        return read(inotify, timeout=timeout)

    monkeypatch.setattr(INotify, "read", read_late)
    return allowed


@pytest.mark.parametrize("after", ["made anew", "removed", "moved away", "base moved away"])
def test_what_was_moved_in_and_changed_again_is_taken_back(
    follower: Follower, tmp_path: Path, may_read: threading.Event, after: str
) -> None:
    """What is there by now came otherwise, and may be half of a copy; its sibling is as it was."""
    base = tmp_path / "m"
    base.mkdir()
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    follower.follow("m", base)

    (tmp_path / "1").rename(base / "1")
    (tmp_path / "2").rename(base / "2")
    match after:
        case "base moved away":
            base.rename(tmp_path / "away")
        case "moved away":
            (base / "1").rename(tmp_path / "1")
        case _:
            (base / "1").rmdir()
    if after == "made anew":
        (base / "1").mkdir()
    may_read.set()

    assert follower.wait() == (set() if after == "base moved away" else {str(base / "2")})


def test_what_is_moved_in_once_more_counts(follower: Follower, tmp_path: Path, may_read: threading.Event) -> None:
    """The last thing that happened to a name decides."""
    base = tmp_path / "m"
    base.mkdir()
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    follower.follow("m", base)

    (tmp_path / "old").rename(base / "1")
    (base / "1").rmdir()
    (tmp_path / "new").rename(base / "1")
    may_read.set()

    assert follower.wait() == {str(base / "1")}


def test_of_what_was_moved_in_nothing_is_known_when_the_kernel_loses_events(
    follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were lost may have taken it back."""
    lost = Event(-1, flags.Q_OVERFLOW, 0, "")
    read: Callable[..., list[Event]] = INotify.read
    monkeypatch.setattr(INotify, "read", lambda self, timeout: [*read(self, timeout=timeout), lost])
    (tmp_path / "m").mkdir()
    (tmp_path / "copy").mkdir()
    follower.follow("m", tmp_path / "m")

    (tmp_path / "copy").rename(tmp_path / "m" / "1")

    assert follower.wait("m") == set()
