"""What storage said last of every model, asked again when it is due; one model's storage never concerns another's.

Local base paths are listed within the tick. Remote ones are listed in the background, because a store may take long or
never answer: a tick asks, and a later tick takes the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from core.config.model_config import ModelConfig
from core.config.server_settings import PollingSettings
from core.storage.version_listing import (
    MISSED,
    REMOTE_SETTLED_S,
    SETTLED_S,
    Source,
    VersionDirectory,
    VersionListing,
    is_remote,
    missing,
    nothing_to_serve,
    steadied,
)
from core.telemetry.redaction import without_secrets
from deployments.versions.background_listings import Background, StoreThreads

log = logging.getLogger(__name__)

NEVER = float("inf")
SECOND_LOOK_S = 1.0
"""Without polling, storage is asked again after this time as long as a version is not completely written."""

REMOTE_SECOND_LOOK_S = 10.0
"""The same for remote storage."""

SILENT_AFTER_S = 60.0
"""A store that has not answered for so long is a problem of the models that lie there."""


@dataclass(slots=True)
class _Poll:
    """When storage of one kind is asked again."""

    period_s: float
    second_look_s: float
    due_s: float = 0.0

    def begins_round(self, now_s: float) -> bool:
        """Whether every model is due; the next round is then a period away."""
        if now_s < self.due_s:
            return False
        self.due_s = now_s + self.period_s if self.period_s > 0 else NEVER
        return True


@dataclass(frozen=True, slots=True)
class _Asked:
    """A listing under way."""

    base_path: str
    answer: Future[VersionListing]
    since_s: float


class Listings:
    """The newest good listing of each model, and what is wrong or unfinished there.

    `by_model` and `waiting` go into `core.versions.world.World`; `problems` says per model why there is
    nothing to load; `unsure` names models of which a second look is needed to tell.
    """

    def __init__(self, source: Source, polling: PollingSettings, background: Background | None = None) -> None:
        self._source = source
        self._background = background or StoreThreads()
        self._local = _Poll(polling.file_system_poll_wait_s, SECOND_LOOK_S)
        self._remote = _Poll(polling.remote_poll_wait_s, REMOTE_SECOND_LOOK_S)
        self._looked_at: dict[str, str] = {}
        self._asked: dict[str, _Asked] = {}
        self._last: dict[str, VersionListing] = {}
        self._failing: set[str] = set()
        self.by_model: dict[str, VersionListing] = {}
        self.waiting: dict[str, dict[int, str]] = {}
        self.unsure: set[str] = set()
        self.problems: dict[str, str] = {}

    @property
    def due_s(self) -> float:
        """When the next round of either kind begins, on the steady clock."""
        return min(self._local.due_s, self._remote.due_s)

    def refresh(self, models: Sequence[ModelConfig], now_s: float, wall_s: float) -> None:
        """List models that are new or moved, and all of them when the poll is due; forget those no longer configured.

        `now_s` is of the steady clock that polls go by, `wall_s` of the one that the times of files go by.
        """
        for gone in set(self._looked_at) - {model.name for model in models}:
            self._forget(gone)
        self._take_answers({model.name: model for model in models}, now_s, wall_s)
        local = [one for one in models if not is_remote(one.base_path)]
        for model in self._due(local, self._local, now_s):
            self._take(model, self._source.list_versions(model.base_path, model.policy), wall_s)
        remote = [one for one in models if is_remote(one.base_path)]
        for model in self._due(remote, self._remote, now_s):
            self._ask(model, now_s)
        self._plan_second_look(local, self._local, now_s)
        self._plan_second_look(remote, self._remote, now_s)
        for model in models:
            self._note_what_is_lacking(model)

    def _due(self, models: list[ModelConfig], poll: _Poll, now_s: float) -> list[ModelConfig]:
        due = models
        if not poll.begins_round(now_s):
            due = [one for one in models if self._looked_at.get(one.name) != one.base_path]
        for model in due:
            if self._looked_at.get(model.name) != model.base_path:
                self._begin(model)
        return due

    def _begin(self, model: ModelConfig) -> None:
        """Know nothing of what stood at another base path: none of it may be loaded any more, nor compared with."""
        self._forget(model.name)
        self._looked_at[model.name] = model.base_path
        if is_remote(model.base_path):
            log.info(
                "remote_storage model=%s base_path=%s poll_s=%s", model.name, model.base_path, self._remote.period_s
            )

    def _plan_second_look(self, models: Iterable[ModelConfig], poll: _Poll, now_s: float) -> None:
        known = (one.name for one in models if one.name not in self._asked)
        if poll.due_s == NEVER and any(self.waiting.get(name) for name in known):
            poll.due_s = now_s + poll.second_look_s

    def _ask(self, model: ModelConfig, now_s: float) -> None:
        if model.name in self._asked:
            return
        store = "/".join(model.base_path.split("/")[:3])
        listing = partial(self._source.list_versions, model.base_path, model.policy)
        self._asked[model.name] = _Asked(model.base_path, self._background.submit(store, listing), now_s)

    def _take_answers(self, configured: Mapping[str, ModelConfig], now_s: float, wall_s: float) -> None:
        for name, asked in tuple(self._asked.items()):
            model = configured[name]
            if model.base_path != asked.base_path:
                del self._asked[name]
            elif asked.answer.done():
                del self._asked[name]
                self._take(model, asked.answer.result(), wall_s)
            elif now_s - asked.since_s > SILENT_AFTER_S:
                self._note_error(model, f"UNAVAILABLE: no answer for {SILENT_AFTER_S:.0f} s")

    def _forget(self, model: str) -> None:
        for held in (self._looked_at, self._asked, self._last, self.by_model, self.problems, self.waiting):
            held.pop(model, None)
        self.unsure.discard(model)
        self._failing.discard(model)

    def _take(self, model: ModelConfig, listing: VersionListing, wall_s: float) -> None:
        if listing.error:
            self._note_error(model, listing.error)
            return
        before = self._last.get(model.name)
        self._last[model.name] = listing
        self.waiting[model.name] = _unfinished(listing, before, wall_s, model)
        if is_remote(model.base_path):
            listing, missed = steadied(listing, before)
            self.waiting[model.name] |= dict.fromkeys(missed, MISSED)
        self.unsure.discard(model.name)
        if before is None and self.waiting[model.name]:
            self.unsure.add(model.name)
        self.by_model[model.name] = listing
        self._failing.discard(model.name)

    def _note_what_is_lacking(self, model: ModelConfig) -> None:
        """Judge the newest listing anew: the policy may have changed since."""
        if model.name in self._failing or model.name not in self.by_model:
            return
        found = frozenset(self.by_model[model.name].versions)
        lacking = nothing_to_serve(model.name, model.base_path, model.policy, found)
        if lacking:
            self._note_problem(model.name, lacking)
        else:
            self.problems.pop(model.name, None)

    def _note_error(self, model: ModelConfig, error: str) -> None:
        self._failing.add(model.name)
        self._note_problem(
            model.name, f"Could not find base path {model.base_path} for servable {model.name} with error {error}"
        )

    def _note_problem(self, model: str, text: str) -> None:
        """Keep why storage lists nothing to load; log it once."""
        text = without_secrets(text)
        if self.problems.get(model) != text:
            log.warning("storage_problem model=%s problem=%s", model, text)
        self.problems[model] = text


def _unfinished(
    now: VersionListing, before: VersionListing | None, wall_s: float, model: ModelConfig
) -> dict[int, str]:
    """Name the versions that are not completely written, each with what it waits for."""
    known = before.versions if before is not None else {}
    reasons = {
        number: _reason_to_wait(directory, known.get(number), wall_s, model)
        for number, directory in now.versions.items()
    }
    return {number: reason for number, reason in reasons.items() if reason}


def _reason_to_wait(now: VersionDirectory, before: VersionDirectory | None, wall_s: float, model: ModelConfig) -> str:
    if now.unreadable:
        return f"waits until its files can be read: {now.unreadable}"
    return missing(
        now.files,
        before.files if before is not None else None,
        marker_file=model.resources.marker_file,
        now_s=wall_s,
        settled_s=REMOTE_SETTLED_S if is_remote(model.base_path) else SETTLED_S,
    )
