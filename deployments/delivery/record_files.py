"""The records of rollouts in `--state_dir`: a file of JSON for each model, which only its owner replaces.

What could not be read is never written over: it is set aside under another name, and what follows begins without it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar
from urllib.parse import quote

from core.delivery.rollout_record import RolloutRecord
from core.errors import Code, ConfigError
from core.rollouts.record_json import record_of_json, record_to_json
from core.storage.store_errors import StorageFailed
from deployments.delivery.state_folder import StateFolder
from deployments.system.daemon_threads import DaemonThreads

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

LONGEST_NAME: Final = 150
ENDING: Final = ".json"
ANSWERS_WITHIN_S = 10.0
"""A folder that has not answered for so long counts as away; the ticks go on."""


def file_of(model: str) -> str:
    """Return the name of a model's file: any name of a model becomes one that every file system takes."""
    encoded = quote(model, safe="").replace(".", "%2E")
    if len(encoded) > LONGEST_NAME:
        encoded = f"{encoded[:LONGEST_NAME]}~{hashlib.sha256(model.encode()).hexdigest()[:16]}"
    return encoded + ENDING


class RecordFiles:
    """The files of one server; methods raise StorageFailed, and wait some seconds at most."""

    def __init__(self, folder: StateFolder, answers_within_s: float = ANSWERS_WITHIN_S) -> None:
        self._folder = folder
        self._within_s = answers_within_s
        self._thread = DaemonThreads("state folder", 1)
        self._unanswered: Future[Any] | None = None
        self._names: frozenset[str] = frozenset()
        self._known: dict[str, bytes] = {}  # by file: what was read, or written last

    def look(self) -> None:
        """Find out which files there are."""
        self._names = self._answer(self._folder.names)

    def record(self, model: str) -> RolloutRecord | None:
        """Return what was written last of a model; None where there is nothing, or nothing that can be read."""
        name = file_of(model)
        if name not in self._names:
            return None
        content = self._answer(lambda: self._folder.read(name))
        try:
            record = record_of_json(content.decode(), name)
        except (ConfigError, UnicodeDecodeError) as error:
            log.error("rollout_state_unreadable model=%s file=%s error=%s", model, name, error)  # noqa: TRY400
            return None
        self._known[name] = content
        return record

    def write(self, model: str, record: RolloutRecord) -> None:
        """Replace the file of a model; one that another server has written meanwhile is an error."""
        name, content = file_of(model), record_to_json(record).encode()
        self._answer(lambda: self._replace(name, content))
        self._known[name] = content

    def _replace(self, name: str, content: bytes) -> None:
        known = self._known.get(name)
        if name in self._folder.names():
            there = self._folder.read(name) if known is not None else None
            if there is None:
                self._set_aside(name)
            elif there != known:
                owner = _owner_of(there)
                text = f"{name} was written by somebody else ({owner}): does another server use the same folder?"
                raise StorageFailed(Code.FAILED_PRECONDITION, text)
        self._folder.write(name, content)

    def _set_aside(self, name: str) -> None:
        """Keep what this process has not read under the first name that is free."""
        there = self._folder.names()
        kept = next(one for one in (f"{name}.kept-{count}" for count in range(len(there) + 1)) if one not in there)
        self._folder.rename(name, kept)
        log.warning("rollout_state_kept file=%s as=%s", name, kept)

    def remove(self, model: str) -> None:
        """Delete the file of a model that is no longer configured, if it is one that this process knows."""
        name = file_of(model)
        if self._known.pop(name, None) is not None:
            self._answer(lambda: self._folder.remove(name))

    def _answer(self, question: Callable[[], Answer]) -> Answer:
        """Ask in a thread: a store that hangs must not hold the ticks up, nor one question wait for another."""
        if self._unanswered is not None and not self._unanswered.done():
            raise StorageFailed(Code.UNAVAILABLE, "The state folder does not answer.", True)  # noqa: FBT003 - positional
        asked = self._thread.submit(question)
        try:
            return asked.result(self._within_s)
        except TimeoutError:
            self._unanswered = asked
            text = f"The state folder has not answered for {self._within_s:g} s."
            raise StorageFailed(Code.UNAVAILABLE, text, True) from None  # noqa: FBT003 - positional


class RecordsToRead(RecordFiles):
    """The files for somebody who only looks; what is written is not kept."""

    def write(self, model: str, record: RolloutRecord) -> None:
        """Write nothing."""

    def remove(self, model: str) -> None:
        """Delete nothing."""


def _owner_of(content: bytes) -> str:
    try:
        return record_of_json(content.decode()).owner or "unknown"
    except (ConfigError, UnicodeDecodeError):
        return "unreadable"
