"""What storage said last of every model, asked again when it is due; one model's storage never concerns another's."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from core.config import ModelConfig
from core.source import Source, VersionListing, missing

log = logging.getLogger(__name__)

NEVER = float("inf")
SECOND_LOOK_S = 1.0
"""Without polling, storage is asked again after this time as long as a version is not completely written."""


class Listings:
    """The newest good listing of each model, and what is wrong or unfinished there.

    `by_model` and `waiting` go into `core.reconcile.World`; `problems` says per model why there is nothing to load;
    `unsure` names models of which a second look is needed to tell.
    """

    def __init__(self, source: Source, poll_s: float) -> None:
        self._source = source
        self._poll_s = poll_s
        self.due_s = 0.0
        self.by_model: dict[str, VersionListing] = {}
        self.waiting: dict[str, dict[int, str]] = {}
        self.unsure: set[str] = set()
        self.problems: dict[str, str] = {}

    def refresh(self, models: Sequence[ModelConfig], now_s: float) -> None:
        """List the models that are new, and all of them when the poll is due; forget those no longer configured."""
        wanted = [one for one in models if one.name not in self.by_model and one.name not in self.problems]
        if now_s >= self.due_s:
            self.due_s = now_s + self._poll_s if self._poll_s > 0 else NEVER
            wanted = list(models)
        for model in wanted:
            self._list(model, now_s)
        if self.due_s == NEVER and any(self.waiting.values()):
            self.due_s = now_s + SECOND_LOOK_S
        configured = {model.name for model in models}
        for gone in (set(self.by_model) | set(self.problems)) - configured:
            self._forget(gone)

    def _forget(self, model: str) -> None:
        self.by_model.pop(model, None)
        self.problems.pop(model, None)
        self.waiting.pop(model, None)
        self.unsure.discard(model)

    def _list(self, model: ModelConfig, now_s: float) -> None:
        listing = self._source.list_versions(model.base_path, model.policy)
        if listing.error:
            self._note_problem(
                model.name,
                f"Could not find base path {model.base_path} for servable {model.name} with error {listing.error}",
            )
            return
        before = self.by_model.get(model.name)
        self.waiting[model.name] = _unfinished(listing, before, now_s, model.resources.marker_file)
        self.unsure.discard(model.name)
        if before is None and self.waiting[model.name]:
            self.unsure.add(model.name)
        self.by_model[model.name] = listing
        if listing.versions:
            self.problems.pop(model.name, None)
            return
        self._note_problem(
            model.name,
            f"No versions of servable {model.name} found under base path {model.base_path}. "
            "Did you forget to name your leaf directory as a number (eg. '/1/')?",
        )

    def _note_problem(self, model: str, text: str) -> None:
        """Keep why storage gives nothing to load; log it once."""
        if self.problems.get(model) != text:
            log.warning("storage_problem model=%s problem=%s", model, text)
        self.problems[model] = text


def _unfinished(now: VersionListing, before: VersionListing | None, now_s: float, marker_file: str) -> dict[int, str]:
    """Name the versions that are not completely written, each with what it waits for."""
    known = before.versions if before is not None else {}
    reasons = {
        number: missing(
            directory.files,
            known[number].files if number in known else None,
            marker_file=marker_file,
            now_s=now_s,
        )
        for number, directory in now.versions.items()
    }
    return {number: reason for number, reason in reasons.items() if reason}
