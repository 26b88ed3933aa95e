"""Watches the disk that every process of this node needs, and explains failures that Ray cannot explain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from core.versions.load_report import out_of_space
from core.versions.world import AppObservation, Condition

log = logging.getLogger(__name__)


class DiskWatch:
    """`problem` says that the disk was full at the last look; it is empty while there is room."""

    def __init__(self, full_disk: Callable[[], str]) -> None:
        self._full_disk = full_disk
        self.problem = ""

    def look(self, apps: Mapping[str, AppObservation]) -> Mapping[str, AppObservation]:
        """Look at the disk; returns the applications with the reasons of failures that a full disk explains.

        That the disk is full is logged once, and that it has room again.
        """
        before, self.problem = self.problem, self._full_disk()
        if self.problem and not before:
            log.warning("disk_full problem=%s", self.problem)
        if before and not self.problem:
            log.warning("disk_has_room_again")
        return {app: _explained(one, self.problem) for app, one in apps.items()} if self.problem else apps


def _explained(app: AppObservation, full_disk: str) -> AppObservation:
    if app.condition is not Condition.FAILED:
        return app
    return replace(app, message=out_of_space(app.message, full_disk))
