"""The environment of a local Ray; set before Ray is imported, because Ray reads it then."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping


def prepare(environment: MutableMapping[str, str]) -> None:
    """Protect the local cluster by a token that only this server's processes know, and limit what Ray does and says.

    With a token for each server, two servers of one user do not share a token file.
    """
    environment.setdefault("RAY_AUTH_MODE", "token")
    if environment["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN_PATH" not in environment:
        environment.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    environment.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import_ahead(environment)


def import_ahead(environment: MutableMapping[str, str]) -> None:
    """Let each worker process of a Ray that is started here import what it needs before it has work."""
    environment.setdefault("RAY_preload_python_modules", "deployments.preload")
