"""The environment of a local Ray, or of a process that joins a cluster; set before Ray is imported and reads it."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping

COUNTED_EVERY_MS = 5000
"""How often Serve hands on what it counted, instead of ten times a second; Ray exports it every ten seconds.

Each process pays for it, and each router for each version that it has a handle to.
"""

HEAD_AWAY_S = 600
"""How long this process waits for the control store of a cluster, as its hosts do by `configs/ray_cluster.sh`.

Ray's own minute is less than a head may take to be started again, and ends the process.
"""


def prepare(environment: MutableMapping[str, str]) -> None:
    """Protect the local cluster by a token that only this server's processes know, and limit what Ray does and says.

    With a token for each server, two servers of one user do not share a token file.
    """
    environment.setdefault("RAY_AUTH_MODE", "token")
    if environment["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN_PATH" not in environment:
        environment.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    environment.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    environment.setdefault("RAY_SERVE_METRICS_EXPORT_INTERVAL_MS", str(COUNTED_EVERY_MS))
    import_ahead(environment)


def prepare_to_join(environment: MutableMapping[str, str]) -> None:
    """Let this process outlive a head that is away for a while, whatever the environment in which it was started."""
    environment.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(HEAD_AWAY_S))


def import_ahead(environment: MutableMapping[str, str]) -> None:
    """Let each worker process of a Ray that is started here import what it needs before it has work."""
    environment.setdefault("RAY_preload_python_modules", "deployments.workers.preload")
