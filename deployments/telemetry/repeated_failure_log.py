"""Logs a recurring failure without a line for each time."""

from __future__ import annotations

import logging

from core.telemetry.repeated_failure import RepeatedFailure

log = logging.getLogger(__name__)

LONGEST_TEXT = 500


class RepeatedFailureLog:
    """The log lines of one recurring failure: `event` while it lasts, `over` when it is over."""

    def __init__(self, event: str, over: str) -> None:
        self._failed = f"{event} times=%d for_s=%.0f error=%s"
        self._over = f"{over} failures=%d for_s=%.0f"
        self._episode = RepeatedFailure()

    def failed(self, now_s: float, error: BaseException) -> None:
        """Count a failure, and log it when a line is due."""
        episode = self._episode
        if episode.again(now_s, type(error).__name__):
            log.warning(self._failed, episode.count, episode.lasted_s, str(error)[:LONGEST_TEXT])

    def went_well(self, now_s: float) -> None:
        """Note a success, and log the end of the failure when it is over."""
        if self._episode.is_over(now_s):
            log.info(self._over, self._episode.count, self._episode.lasted_s)
            self._episode = RepeatedFailure()
