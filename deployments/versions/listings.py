"""The latest storage listing of each model, refreshed when due; a failing store affects only its own models.

Local base paths are listed within the tick: when polled, when the kernel said that something changed there, and soon
again while a version there is being written. Remote ones are listed in the background, because a store may take long
or never answer: one tick asks, a later one takes the answer.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from core.config.model_config import ModelConfig
from core.config.server_settings import PollingSettings
from core.storage.followed_folders import Names, followed_folders
from core.storage.second_look import second_look_s
from core.storage.version_listing import (
    NONE_MOVED_IN,
    UNKNOWN,
    Judged,
    MovedIn,
    Source,
    VersionListing,
    is_remote,
    judged,
    local_path,
)
from core.storage.whole_saved_model import finished_last
from deployments.storage.whole_model import is_whole
from deployments.versions.background_listings import Background, StoreThreads

log = logging.getLogger(__name__)

NEVER = float("inf")
SECOND_LOOK_S = 1.0
"""Without polling, storage is asked again after this time as long as a version is not completely written."""

REMOTE_SECOND_LOOK_S = 10.0
"""The same for remote storage."""

SILENT_AFTER_S = 60.0
"""A store that has not answered for so long is a problem of the models that lie there."""

SILENT = VersionListing(error=f"UNAVAILABLE: no answer for {SILENT_AFTER_S:.0f} s")
"""The answer that stands for such a store."""


@dataclass(slots=True)
class _Poll:
    """When storage of one kind is listed again."""

    period_s: float
    second_look_s: float
    due_s: float = 0.0

    def begins_round(self, now_s: float) -> bool:
        """Whether every model is due; the next round is then a period away."""
        if now_s < self.due_s:
            return False
        self.due_s = now_s + self.period_s if self.period_s > 0 else NEVER
        return True


Place = tuple[str, str]
"""A base path, and the subpath of its versions."""


def _place(model: ModelConfig) -> Place:
    return model.base_path, model.version_subpath


@dataclass(frozen=True, slots=True)
class _Asked:
    """A listing under way."""

    place: Place
    answer: Future[VersionListing]
    since_s: float


class Events(Protocol):
    """Tells of changes in local folders (`deployments.storage.folder_events`)."""

    def follow(self, follower: str, folders: Mapping[str, Names]) -> None:
        """Watch these folders for a follower instead of those before."""

    def forget(self, follower: str) -> None:
        """Watch nothing for a follower any more."""

    def take(self) -> Mapping[str, MovedIn]:
        """Return the followers in whose folders something happened, each with what was moved there by one rename."""


class NoEvents:
    """Storage that is not polled is not followed either."""

    def follow(self, follower: str, folders: Mapping[str, Names]) -> None:
        """Watch nothing."""

    def forget(self, follower: str) -> None:
        """Nothing is watched."""

    def take(self) -> Mapping[str, MovedIn]:
        """Nothing is known to have happened."""
        return {}


class Listings:
    """The storage of all models; `by_model` is what `core.versions.world.World` takes."""

    def __init__(
        self,
        source: Source,
        polling: PollingSettings,
        background: Background | None = None,
        events: Events | None = None,
    ) -> None:
        self._source = source
        self._is_polled = polling.file_system_poll_wait_s > 0
        self._events = events if events is not None and self._is_polled else NoEvents()
        self._background = background or StoreThreads()
        self._local = _Poll(polling.file_system_poll_wait_s, SECOND_LOOK_S)
        self._remote = _Poll(polling.remote_poll_wait_s, REMOTE_SECOND_LOOK_S)
        self._looked_at: dict[str, Place] = {}
        self._second_looks: dict[str, float] = {}
        self._asked: dict[str, _Asked] = {}
        self.by_model: dict[str, Judged] = {}

    @property
    def due_s(self) -> float:
        """When the next round of either kind begins, or a second look is due, on the steady clock."""
        return min(self._local.due_s, self._remote.due_s, *self._second_looks.values())

    def refresh(self, models: Sequence[ModelConfig], now_s: float, wall_s: float) -> None:
        """List models that are new, moved or changed, and all when the poll is due; forget those no longer configured.

        `now_s` is of the steady clock that polls go by, `wall_s` of the one that the times of files go by.
        """
        for gone in set(self._looked_at) - {model.name for model in models}:
            self._forget(gone)
        self._take_answers({model.name: model for model in models}, now_s, wall_s)
        local = [one for one in models if not is_remote(one.base_path)]
        changed = self._events.take()
        early = {name for name, due_s in self._second_looks.items() if due_s <= now_s} | changed.keys()
        for model in self._due(local, self._local, now_s, early):
            self._follow(model)
            listing = self._source.list_versions(model.base_path, model.policy, model.version_subpath)
            self._judge(model, listing, wall_s, changed.get(model.name, NONE_MOVED_IN))
            self._plan_quick_look(model, now_s, wall_s)
        remote = [one for one in models if is_remote(one.base_path)]
        for model in self._due(remote, self._remote, now_s):
            self._ask(model, now_s)
        self._plan_second_look(local, self._local, now_s)
        self._plan_second_look(remote, self._remote, now_s)
        for model in (one for one in models if one.name in self.by_model):
            self._judge(model, None, wall_s)

    def _due(
        self, models: list[ModelConfig], poll: _Poll, now_s: float, early: Collection[str] = ()
    ) -> list[ModelConfig]:
        due = models
        if not poll.begins_round(now_s):
            due = [one for one in models if self._looked_at.get(one.name) != _place(one) or one.name in early]
        for model in due:
            if self._looked_at.get(model.name) != _place(model):
                self._begin(model)
        return due

    def _follow(self, model: ModelConfig) -> None:
        """Follow the folders of a model before it is listed: what happens after that is not missed."""
        folder = local_path(model.base_path)
        known = self.by_model.get(model.name, UNKNOWN)
        subpath = model.version_subpath
        folders = followed_folders(folder, known, is_there=os.path.isdir(folder), subpath=subpath)
        self._events.follow(model.name, folders)

    def _plan_quick_look(self, model: ModelConfig, now_s: float, wall_s: float) -> None:
        pause_s = second_look_s(self.by_model[model.name], wall_s) if self._is_polled else None
        if pause_s is None:
            self._second_looks.pop(model.name, None)
        else:
            self._second_looks[model.name] = now_s + pause_s

    def _begin(self, model: ModelConfig) -> None:
        """Forget the listing of another base path: it must be neither loaded from nor compared with."""
        self._forget(model.name)
        self._looked_at[model.name] = _place(model)
        if is_remote(model.base_path):
            log.info(
                "remote_storage model=%s base_path=%s poll_s=%s", model.name, model.base_path, self._remote.period_s
            )

    def _plan_second_look(self, models: Iterable[ModelConfig], poll: _Poll, now_s: float) -> None:
        known = (one.name for one in models if one.name not in self._asked)
        if poll.due_s == NEVER and any(self.by_model[name].waiting for name in known if name in self.by_model):
            poll.due_s = now_s + poll.second_look_s

    def _ask(self, model: ModelConfig, now_s: float) -> None:
        if model.name in self._asked:
            return
        store = "/".join(model.base_path.split("/")[:3])
        listing = partial(self._source.list_versions, model.base_path, model.policy, model.version_subpath)
        self._asked[model.name] = _Asked(_place(model), self._background.submit(store, listing), now_s)

    def _take_answers(self, configured: Mapping[str, ModelConfig], now_s: float, wall_s: float) -> None:
        for name, asked in tuple(self._asked.items()):
            model = configured[name]
            if _place(model) != asked.place:
                del self._asked[name]
            elif asked.answer.done():
                del self._asked[name]
                self._judge(model, asked.answer.result(), wall_s)
            elif now_s - asked.since_s > SILENT_AFTER_S:
                self._judge(model, SILENT, wall_s)

    def _forget(self, model: str) -> None:
        for held in (self._looked_at, self._asked, self._second_looks, self.by_model):
            held.pop(model, None)
        self._events.forget(model)

    def _judge(
        self,
        model: ModelConfig,
        listing: VersionListing | None,
        wall_s: float,
        moved_in: MovedIn = NONE_MOVED_IN,
    ) -> None:
        """Keep what an answer means, or what is known means now; log a problem once."""
        before = self.by_model.get(model.name, UNKNOWN)
        after = judged(listing, before, model, wall_s, moved_in)
        if listing is not None and not is_remote(model.base_path):
            whole = {one.path: wall_s for one in finished_last(after, wall_s) if is_whole(one)}
            after = judged(listing, before, model, wall_s, {**moved_in, **whole}) if whole else after
        if after.problem and after.problem != before.problem:
            log.warning("storage_problem model=%s problem=%s", model.name, after.problem)
        self.by_model[model.name] = after
