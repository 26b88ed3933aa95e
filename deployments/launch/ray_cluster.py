"""Ray under the console script: a local one in a folder of its own, or a running cluster that is joined.

Ray Serve is not imported here, so that the rest of the program can be imported while Ray starts, which is mostly
waiting.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading

import ray

from deployments.launch.ray_start import RayInit, Say, start_ray

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

    def start(self, stop: threading.Event, say: Say) -> None:
        """Join the cluster at the address, or start a local Ray without dashboard.

        Raises Unavailable when a local Ray does not come up, or is stopped before it does.
        """
        logging.getLogger("ray").setLevel(logging.WARNING)
        if self._address:
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.WARNING)
            return
        self._folder = tempfile.mkdtemp(prefix="rms-")
        local = RayInit(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=self._folder,
        )
        start_ray(local, say, stop.is_set)

    def stop(self) -> None:
        """Disconnect; a local Ray ends, and its folder is removed."""
        ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
