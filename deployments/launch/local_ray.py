"""A local Ray with the processes that a server needs, and no others.

`ray.init` also starts three that do nothing for a server alone on its node, and cost a fifth of the start: the
autoscaler's monitor, the monitor that copies the output of workers to the driver, and the head of the dashboard, which
without the dashboard only reports usage. So the node is made here, and `ray.init` joins it.
"""

from __future__ import annotations

import logging
import resource
from typing import Any

import ray
from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
from ray._private.node import Node
from ray._private.parameter import RayParams

from deployments.container.cpus import usable_cpus
from deployments.container.folders import place_of_objects
from deployments.launch.ray_start import node_of, raise_if_late, remove_failed

OPEN_FILES = 65536

FREE_PORT = 0
"""For the agent of a node: by default each Ray takes the same port, and the dashboard of the second one has no logs."""


class LocalRay:
    """A node of our own, and the connection to it."""

    def __init__(self, folder: str) -> None:
        """Take the folder for the files of its session."""
        self._folder = folder
        self._node: Node | None = None

    def start(self) -> None:
        """Start the node and connect to it; raises StartTimedOut when it does not come up in time."""
        _allow_open_files()
        ensure_token_if_auth_enabled(create_token_if_missing=True)
        objects = place_of_objects(self._folder)
        parameters = RayParams(
            temp_dir=self._folder,
            num_cpus=usable_cpus(),
            object_store_memory=objects.size_bytes,
            plasma_directory=objects.folder,
            include_dashboard=False,
            dashboard_agent_listen_port=FREE_PORT,
            include_log_monitor=False,  # type: ignore[arg-type]  # Ray declares a text and takes a truth
            no_monitor=True,
        )
        try:
            self._node = _NodeWithoutHead(
                parameters, head=True, shutdown_at_exit=False, spawn_reaper=True, ray_init_cluster=True
            )
            ray.init(address=self._node.address, log_to_driver=False, logging_level=logging.WARNING)
        except Exception as error:
            self._node = self._node or node_of(error)
            raise_if_late(error)
            raise

    def clear(self) -> None:
        """Remove what the last start left behind when it failed: its processes and its session folder."""
        node, self._node = self._node, None
        remove_failed(node)

    def ended(self) -> dict[str, int]:
        """Return the exit statuses of its processes that have ended, by kind."""
        dead = self._node.dead_processes() if self._node is not None else ()
        return {kind: process.returncode for kind, process in dead}


class _NodeWithoutHead(Node):
    """A head node without the dashboard's head, which `include_dashboard=False` does not leave out."""

    def start_api_server(self, **options: Any) -> None:
        """Start none."""


def _allow_open_files() -> None:
    """Raise the limit of open files as `ray.init` does, which is too late for a node that runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))
