"""Threads that list remote storage: a store that hangs delays neither the ticks nor other stores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from core.storage.version_listing import VersionListing
from deployments.system.daemon_threads import DaemonThreads

LISTINGS_AT_A_TIME = 8
"""For each store; further listings are queued."""


class Background(Protocol):
    """Runs calls that may take long."""

    def submit(self, store: str, call: Callable[[], VersionListing]) -> Future[VersionListing]:
        """Queue a call; calls to different stores do not wait for each other."""


class StoreThreads:
    """A thread pool for each store."""

    def __init__(self) -> None:
        self._threads: dict[str, DaemonThreads] = {}

    def submit(self, store: str, call: Callable[[], VersionListing]) -> Future[VersionListing]:
        """Queue a call for the threads of its store."""
        if store not in self._threads:
            self._threads[store] = DaemonThreads(f"lists {store}", LISTINGS_AT_A_TIME)
        return self._threads[store].submit(call)
