"""Ray under the console script: a local one in a folder of its own, or a running cluster that is joined.

Ray Serve is not imported here, so that the rest of the program can be imported while Ray starts, which is mostly
waiting.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from types import MappingProxyType

import ray
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET

from core.errors import Unavailable
from deployments.launch.endings import ServerLost, refused
from deployments.launch.local_ray import LocalRay
from deployments.launch.ray_start import Say, start_ray

CONNECTED_WITHIN_S = 5.0
JOINED_WITHIN_S = 60.0
HIGHEST_PORT = 65535

VITAL = MappingProxyType({PROCESS_TYPE_RAYLET: "Ray's raylet", PROCESS_TYPE_GCS_SERVER: "Ray's control store"})
"""Processes of Ray by kind that cannot be replaced; the others only collect logs and metrics."""


class RayCluster:
    """A connection to Ray, and the local Ray behind it if it is ours."""

    def __init__(self, address: str, folder: str = "") -> None:
        """Take the address of a running cluster, or a folder for the files of a local Ray."""
        self._address = address
        self._folder = folder
        self._local = LocalRay(folder)

    @property
    def is_own(self) -> bool:
        """Whether this Ray was started for this server alone."""
        return not self._address

    @property
    def folder(self) -> str:
        """The folder for the files of a local Ray, and of its server; empty for a cluster that was joined."""
        return self._folder

    def start(self, stop: threading.Event, say: Say) -> None:
        """Join the cluster at the address, or start a local Ray.

        Raises Unavailable when a local Ray does not come up, or is stopped before it does.
        """
        logging.getLogger("ray").setLevel(logging.WARNING)
        if self._address:
            self._join()
        else:
            start_ray(self._local, say, stop.is_set)

    def _join(self) -> None:
        """Join the cluster; what answers at its address but is not Ray would be asked without end."""
        if not self._address.startswith("ray://"):
            require_listener(self._address)
        late = threading.Timer(JOINED_WITHIN_S, _give_up, [self._address])
        late.daemon = True
        late.start()
        try:
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.WARNING)
        finally:
            late.cancel()

    def require_alive(self) -> None:
        """Raise ServerLost when a process without which a local Ray does nothing has ended."""
        for kind, status in self._local.ended().items():
            if kind in VITAL:
                raise ServerLost(f"{VITAL[kind]} has ended (exit status {status})")

    def stop(self) -> None:
        """Leave a cluster that was joined; a local Ray ends with the process that started it, which is quicker."""
        if not self.is_own:
            ray.shutdown()


def require_listener(address: str) -> None:
    """Raise Unavailable when nothing listens at HOST:PORT; Ray itself would try again without end."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > HIGHEST_PORT:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTED_WITHIN_S).close()
    except OSError as error:
        advice = f"Correct --ray_address, or start Ray there: ray start --head --port={port}"
        raise Unavailable(f"No Ray cluster answers at {address} ({error.strerror or error}). {advice}") from error


def _give_up(address: str) -> None:
    """End this process while Ray is still asking, which cannot be interrupted."""
    status = refused(
        Unavailable(f"What listens at {address} did not answer as a Ray cluster within {JOINED_WITHIN_S:.0f} s.")
    )
    os._exit(status)
