"""Hosted versions: which may be children of a version host, and the names of the hosts."""

from __future__ import annotations

HOST_DEPLOYMENT = "VersionHost"
"""The name of the only deployment in a host's application."""

_PREFIX = "host@"
"""Begins the name of no version's application: there, an @ is encoded."""


def host_app(node: str) -> str:
    """Return the name of the host application of a node, given the node's id in Ray."""
    return f"{_PREFIX}{node}"


def node_of_host(app: str) -> str:
    """Return the node of a host application; empty for any other application."""
    return app.removeprefix(_PREFIX) if app.startswith(_PREFIX) else ""
