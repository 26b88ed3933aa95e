"""Installed versions."""

from __future__ import annotations

import functools
from importlib import metadata


@functools.cache
def server_version() -> str:
    """Return the version of this server."""
    return metadata.version("ray-model-server")
