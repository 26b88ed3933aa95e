"""Listings of remote storage have threads of their own, so many for each store."""

from __future__ import annotations

import threading

from core.storage.version_listing import VersionListing
from deployments.versions.background_listings import LISTINGS_AT_A_TIME, StoreThreads
from tests.support.clients import wait_until

LISTED = VersionListing(ignored={"x": "not a whole number"})


def test_a_store_that_hangs_keeps_no_other_store_from_being_listed() -> None:
    """Its own listings wait for their turn, and are made when it answers again."""
    threads, goes_on = StoreThreads(), threading.Event()
    begun: list[int] = []

    def hang() -> VersionListing:
        begun.append(1)
        goes_on.wait(60)
        return LISTED

    hanging = [threads.submit("s3://sleeps", hang) for _ in range(2 * LISTINGS_AT_A_TIME)]
    assert threads.submit("gs://works", lambda: LISTED).result(60) is LISTED
    wait_until(lambda: len(begun) == LISTINGS_AT_A_TIME, "all threads of the hanging store are busy")
    assert not any(one.done() for one in hanging)

    goes_on.set()

    assert [one.result(60) for one in hanging] == [LISTED] * len(hanging)
