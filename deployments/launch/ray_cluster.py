"""The Ray under the console script: one of our own in a folder of its own, or a running one that we join.

Nothing of Ray Serve is imported here: while Ray starts, which is mostly waiting, the rest can be imported.
"""

from __future__ import annotations

import logging
import shutil
import tempfile

import ray

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Requests do not pass through Ray's object store; only large answers over the handle transport do."""


class RayCluster:
    """A connection to Ray, and the local Ray behind it if it is ours."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._folder = ""

    @property
    def is_own(self) -> bool:
        """Whether this Ray was started for this server alone."""
        return not self._address

    def start(self) -> None:
        """Join the cluster at the address, or start a local Ray without dashboard."""
        logging.getLogger("ray").setLevel(logging.WARNING)
        if self._address:
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.WARNING)
            return
        self._folder = tempfile.mkdtemp(prefix="rms-")
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=self._folder,
        )

    def stop(self) -> None:
        """Disconnect; a Ray of our own ends, and its folder goes."""
        ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
