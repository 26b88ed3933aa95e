"""The kernel's word for what changes in folders of this machine (inotify): a version is noticed as it appears.

Events only hasten the next look. File systems of other machines send none, and the kernel watches no more folders than
its limits allow; what is missed is found when storage is listed next.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType

from inotify_simple import Event, INotify, flags

from core.storage.followed_folders import Names
from core.storage.version_listing import MovedIn

log = logging.getLogger(__name__)

NOTICED = (
    flags.CREATE
    | flags.DELETE
    | flags.MOVED_TO
    | flags.MOVED_FROM
    | flags.CLOSE_WRITE
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
)

PAUSE_S = 0.1
"""After each batch of events; a writer of many files wakes nobody more often."""

WOKEN_AFTER_S = 0.02
"""After events that concern somebody: by then, a file that is still written to has a later time of change than they.

The times of files go by a clock that steps every four to ten milliseconds.
"""

NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP})
"""Errors of a folder, and not of the kernel's limits."""

NOTHING: Mapping[str, MovedIn] = MappingProxyType({})


class FolderEvents:
    """Follows the folders of several followers, and calls `wake` from its thread when something happened in one."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._followed: dict[str, frozenset[str]] = {}
        self._followers: dict[str, dict[str, Names]] = {}
        self._watches: dict[str, int] = {}
        self._folders: dict[int, set[str]] = {}
        self._happened: dict[str, dict[str, float]] = {}
        self._is_refused = False
        self._ended = threading.Event()
        self._inotify = self._opened()
        if self._inotify is not None:
            self._end = os.eventfd(0)
            threading.Thread(target=self._read, args=[self._inotify], name="folder-events", daemon=True).start()

    def _opened(self) -> INotify | None:
        try:
            return INotify(nonblocking=True)
        except OSError as error:
            self._refused(error)
            return None

    def _refused(self, error: OSError) -> None:
        """Log once that the kernel does not watch more."""
        if not self._is_refused:
            log.warning("folder_events_refused error=%s consequence=%s", error, "new versions are found by polling")
        self._is_refused = True

    def follow(self, follower: str, folders: Mapping[str, Names]) -> None:
        """Watch these folders for a follower instead of those before; a path may name another folder by now."""
        if self._inotify is None:
            return
        with self._lock:
            for folder in self._followed.get(follower, frozenset()) - folders.keys():
                self._leave(follower, folder)
            self._followed[follower] = frozenset(folders)
            for folder, names in folders.items():
                self._followers.setdefault(folder, {})[follower] = names
                self._watch(self._inotify, folder)

    def forget(self, follower: str) -> None:
        """Watch nothing for a follower any more."""
        self.follow(follower, {})
        with self._lock:
            self._followed.pop(follower, None)
            self._happened.pop(follower, None)

    def take(self) -> Mapping[str, MovedIn]:
        """Return the followers in whose folders something happened since the last call.

        With each the paths that were put there by one rename, and to which nothing happened since.
        """
        with self._lock:
            happened, self._happened = self._happened, {}
        return happened or NOTHING

    def close(self) -> None:
        """End the thread; the kernel forgets every watch."""
        with self._lock:
            if self._inotify is not None and not self._ended.is_set():
                self._ended.set()
                os.eventfd_write(self._end, 1)

    def _watch(self, inotify: INotify, folder: str) -> None:
        """Watch what a path names at present."""
        try:
            watch = inotify.add_watch(folder, NOTICED)
        except OSError as error:
            if error.errno not in NOT_THERE:
                self._refused(error)
            self._unwatch(folder)
            return
        if self._watches.get(folder) != watch:
            self._unwatch(folder)
            self._watches[folder] = watch
            self._folders.setdefault(watch, set()).add(folder)

    def _leave(self, follower: str, folder: str) -> None:
        followers = self._followers[folder]
        del followers[follower]
        if not followers:
            del self._followers[folder]
            self._unwatch(folder)

    def _unwatch(self, folder: str) -> None:
        """Give up the watch of a path; several paths may name one folder."""
        watch = self._watches.pop(folder, None)
        if watch is None or self._inotify is None:
            return
        self._folders[watch].discard(folder)
        if not self._folders[watch]:
            del self._folders[watch]
            with suppress(OSError):  # the kernel has given it up with the folder
                self._inotify.rm_watch(watch)

    def _read(self, inotify: INotify) -> None:
        waiting = select.poll()
        waiting.register(inotify.fileno(), select.POLLIN)
        waiting.register(self._end, select.POLLIN)
        while not self._ended.is_set():
            waiting.poll()
            if self._note(inotify.read(timeout=0)):
                self._ended.wait(WOKEN_AFTER_S)
                self._wake()
            self._ended.wait(PAUSE_S)
        with self._lock:
            self._inotify = None
        inotify.close()
        os.close(self._end)

    def _note(self, events: Iterable[Event]) -> bool:
        """Keep what followers have to know; returns whether there is anything new."""
        noted = False
        now_s = time.time()
        with self._lock:
            for event in events:
                if event.mask & flags.Q_OVERFLOW:  # anything may have happened, also to what was moved in
                    self._happened = {one: {} for one in self._followed}
                    noted = True
                for folder in tuple(self._folders.get(event.wd, ())):
                    noted = self._note_in(folder, event, now_s) or noted
                if event.mask & flags.IGNORED:
                    for folder in self._folders.pop(event.wd, ()):
                        del self._watches[folder]
        return noted

    def _note_in(self, folder: str, event: Event, now_s: float) -> bool:
        concerned = [one for one, names in self._followers[folder].items() if not event.name or names(event.name)]
        path = os.path.join(folder, event.name)
        for follower in concerned:
            moved_in = _without(path, self._happened.get(follower, {}))
            if event.mask & flags.MOVED_TO:
                moved_in[path] = now_s
            self._happened[follower] = moved_in
        return bool(concerned)


def _without(path: str, moved_in: MovedIn) -> dict[str, float]:
    """Take back what was moved in and is no longer the same, because something happened at its path or above it."""
    below = os.path.join(path, "")
    return {one: at_s for one, at_s in moved_in.items() if one != path and not one.startswith(below)}
