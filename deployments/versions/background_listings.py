"""Listings of remote storage beside the ticks: a store that hangs stops neither the ticks nor other stores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from core.storage.version_listing import VersionListing
from deployments.system.daemon_threads import DaemonThreads

LISTINGS_AT_A_TIME = 8
"""For each store; more wait for their turn."""


class Background(Protocol):
    """Where calls are made that may take long."""

    def submit(self, store: str, call: Callable[[], VersionListing]) -> Future[VersionListing]:
        """Have a call made at some time; calls for different stores do not wait for each other."""


class StoreThreads:
    """A few threads for each store."""

    def __init__(self) -> None:
        self._threads: dict[str, DaemonThreads] = {}

    def submit(self, store: str, call: Callable[[], VersionListing]) -> Future[VersionListing]:
        """Let a thread of this store make the call."""
        if store not in self._threads:
            self._threads[store] = DaemonThreads(f"lists {store}", LISTINGS_AT_A_TIME)
        return self._threads[store].submit(call)
