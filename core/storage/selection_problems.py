"""The problems of a model whose versions are found, and of which its version policy serves none."""

from __future__ import annotations

from core.config.version_policy import PolicyFailed, Specific, VersionPolicy
from core.storage.store_errors import scrubbed

MOST_SHOWN = 5
"""Versions that a text lists at most, the newest first."""


def nothing_to_serve(model: str, base_path: str, policy: VersionPolicy, found: frozenset[int]) -> str:
    """Return why none of the versions found will be served, when the policy selects none."""
    if not found:
        return (
            f"No versions of servable {model} found under base path {base_path}. "
            "Did you forget to name your leaf directory as a number (eg. '/1/')?"
        )
    listed = policy.versions if isinstance(policy, Specific) else frozenset()
    selected = f"only {_listed(listed)}" if listed else "no versions"
    return f"The version policy of servable {model} lists {selected}; base path {base_path} has {_listed(found)}"


def policy_failed(model: str, error: PolicyFailed) -> str:
    """Return the problem of a model whose registered policy failed; the same error has the same text at each tick."""
    return f"Servable {model}: {scrubbed(str(error))}; the versions that are loaded stay"


def _listed(versions: frozenset[int]) -> str:
    newest = sorted(versions, reverse=True)
    return ", ".join(map(str, newest[:MOST_SHOWN])) + (", ..." if len(newest) > MOST_SHOWN else "")
