"""Hosted versions: which may be children of a version host, and the names of the hosts."""

from __future__ import annotations

HOST_DEPLOYMENT = "VersionHost"
"""The name of the only deployment in a host's application."""


def host_app(node: str) -> str:
    """Return the name of the host application of a node, given the node's id in Ray."""
    return f"host@{node}"
