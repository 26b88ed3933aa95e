"""Finds what installed packages register under the entry points of this server.

`ray_model_server.platforms` names platforms (`core.platforms.platform.Platform`).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from core.config.extensions import BUILT_IN_KINDS, Extensions

log = logging.getLogger(__name__)

GROUP = "ray_model_server."


@functools.cache
def registered(point: str) -> Mapping[str, Any]:
    """Return what is registered under an entry point, by name; what cannot be imported is logged and left out."""
    return {one.name: found for one in metadata.entry_points(group=f"{GROUP}{point}") if (found := _imported(one))}


def _imported(entry: metadata.EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception:
        log.exception("extension_broken group=%s name=%s value=%s", entry.group, entry.name, entry.value)
        return None


def extensions() -> Extensions:
    """Return what configurations may name in this environment; built-in names cannot be taken."""
    added = {name: platform.kind for name, platform in registered("platforms").items()}
    return Extensions({**added, **BUILT_IN_KINDS})
