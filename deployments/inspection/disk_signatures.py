"""Reads from disk how the signatures of a model's newest version differ from those of the version that it replaces."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

from core.comparison.signature_difference import signature_problems
from core.config.version_policy import Specific, VersionPolicy
from core.errors import ServingError
from core.storage.directory_names import version_directories
from deployments.platforms.hook_class import HOOKS_FILE
from deployments.runtime.signature_file import FILE, LARGEST_READ_GRAPH, declared_model

SERVED: Final = frozenset({"serve"})


class SignatureChange(NamedTuple):
    """What callers of the older version would notice of the newer one."""

    old: int
    new: int
    problems: tuple[str, ...]


def change_on_disk(base_path: str, policy: VersionPolicy, subpath: str = "") -> SignatureChange | None:
    """Return what the newest version that would be served changes; None where two SavedModels cannot be read.

    What is wrong with a version is told by others.
    """
    try:
        directories, _ = version_directories(os.listdir(base_path), policy)
    except OSError:
        return None
    pair = _pair(directories.keys(), policy)
    if pair is None:
        return None
    old, new = (Path(base_path, directories[version], subpath) for version in pair)
    try:
        if max((one / FILE).stat().st_size for one in (old, new)) > LARGEST_READ_GRAPH:
            return None
        before, after = (declared_model(one, SERVED).signatures for one in (old, new))
    except (OSError, ServingError):
        return None
    return SignatureChange(*pair, signature_problems(before, after))


def outputs_on_disk(base_path: str, policy: VersionPolicy, subpath: str = "") -> frozenset[str]:
    """Return the names of the outputs of the newest version that would be served; none where they cannot be read."""
    try:
        directories, _ = version_directories(os.listdir(base_path), policy)
        wanted = [one for one in directories if not isinstance(policy, Specific) or one in policy.versions]
        folder = Path(base_path, directories[max(wanted)], subpath) if wanted else Path(base_path)
        if (folder / HOOKS_FILE).exists() or (folder / FILE).stat().st_size > LARGEST_READ_GRAPH:
            return frozenset()
        signatures = declared_model(folder, SERVED).signatures
    except (OSError, ServingError):
        return frozenset()
    return frozenset(name for one in signatures.values() for name in one.outputs)


def _pair(present: Collection[int], policy: VersionPolicy) -> tuple[int, int] | None:
    """Return the newest version that is wanted, after the one below it."""
    wanted = [one for one in present if not isinstance(policy, Specific) or one in policy.versions]
    new = max(wanted, default=None)
    old = max((one for one in present if new is not None and one < new), default=None)
    return None if old is None or new is None else (old, new)
