"""Follows files at URLs in threads of their own: readers get the newest content at once, and wait for the first alone.

A store that is away, or a content that is not text, leaves the last good content in force and is a problem to show.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import ConfigError, Problem
from core.storage.store_errors import StorageFailed
from core.telemetry.redaction import without_secrets
from deployments.config.files import LARGEST_FILE_BYTES, as_text, file_store, read_text, unreadable

log = logging.getLogger(__name__)

FIRST_ANSWER_S = 15.0
"""How long readers wait for the first answer of a store, counted from the first look."""

FIRST_LOOKS_EVERY_S = 2.0
"""How often a file is looked at that could not be read yet."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The newest good text of a file, None before the first; the problem of the newest look, if it had one."""

    text: str | None = None
    problem: Problem | None = None


class FollowedFiles:
    """Files at URLs with the seconds between two looks at each, 0 for one look; may be read from any thread."""

    def __init__(self, periods_s: Mapping[str, float]) -> None:
        self._files = {url: _FollowedFile(url, period_s) for url, period_s in periods_s.items()}

    def read(self, path: str) -> str:
        """Return the newest text of a followed file, and read any other file; raises ConfigError."""
        followed = self._files.get(path)
        return followed.text() if followed is not None else read_text(path)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of files of which an earlier content counts."""
        seen = (one.seen for one in self._files.values())
        return tuple(one.problem for one in seen if one.problem is not None)

    @property
    def changes(self) -> int:
        """How often the text or the problem of any file changed."""
        return sum(one.changes for one in self._files.values())

    def close(self) -> None:
        """End the threads; the files keep what was read last."""
        for one in self._files.values():
            one.ended.set()


class _FollowedFile:
    """One file, and the thread that looks at it."""

    def __init__(self, url: str, period_s: float) -> None:
        self._url = url
        self._period_s = period_s
        self._store = file_store()
        self._state = ""
        self._answered = threading.Event()
        self._give_up_s = time.monotonic() + FIRST_ANSWER_S
        self.ended = threading.Event()
        self.seen = _Seen()
        self.changes = 0
        threading.Thread(target=self._follow, name=f"follows {without_secrets(url)}", daemon=True).start()

    def text(self) -> str:
        """Return the newest good text; raises ConfigError while there is none."""
        self._answered.wait(max(0.0, self._give_up_s - time.monotonic()))
        seen = self.seen
        if seen.text is not None:
            return seen.text
        raise ConfigError((seen.problem or unreadable(self._url, TimeoutError("the store has not answered yet")),))

    def _follow(self) -> None:
        while not self.ended.is_set():
            self._look()
            self._answered.set()
            pause_s = self._period_s if self.seen.text is not None else FIRST_LOOKS_EVERY_S
            if not pause_s:
                return
            self.ended.wait(pause_s)

    def _look(self) -> None:
        before = self.seen
        try:
            found = self._store.read_whole(self._url, LARGEST_FILE_BYTES, self._state)
            text = as_text(found.content) if found is not None else before.text
            self._state = found.state if found is not None else self._state
            after = _Seen(text)
        except (ValueError, StorageFailed) as error:
            after = _Seen(before.text, unreadable(self._url, error))
        if after != before:
            self._take(before, after)

    def _take(self, before: _Seen, after: _Seen) -> None:
        """Show what changed, and log it once."""
        self.seen = after
        self.changes += 1
        if after.problem is not None:
            log.warning("config_file_unread problem=%s", after.problem)
        elif before.problem is not None:
            log.info("config_file_read_again file=%s", without_secrets(self._url))
