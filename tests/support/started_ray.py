"""A Ray that is started by `ray.init`, as a cluster of somebody else's or for the tests of a session."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import ray
from ray._private.node import Node

from deployments.launch.ray_start import node_of, raise_if_late, remove_failed


class RayInit:
    """`ray.init` with these options."""

    def __init__(self, **options: Any) -> None:
        self._options = MappingProxyType(options)
        self._node: Node | None = None

    def start(self) -> None:
        """Start Ray and connect to it; raises StartTimedOut when it does not come up in time."""
        try:
            ray.init(**self._options)
        except Exception as error:
            self._node = node_of(error)
            raise_if_late(error)
            raise

    def clear(self) -> None:
        """Remove what the last start left behind when it failed: its processes and its session folder."""
        node, self._node = self._node, None
        remove_failed(node)
