"""Which local folders are followed for a model, so that the kernel tells of its versions before storage is polled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from core.storage.directory_names import not_a_version
from core.storage.version_listing import Judged

Names = Callable[[str], bool]
"""Which names in a folder are of interest."""


def followed_folders(base_path: str, known: Judged, *, is_there: bool) -> Mapping[str, Names]:
    """Return the folders to follow for a local base path, each with the names that count there.

    Its own, for versions and for nothing else that somebody may write there; those of versions that are not complete,
    for any file; and while it is not there, the folder in which it may appear.
    """
    if not is_there:
        folder, name = os.path.split(base_path.rstrip(os.sep))
        return {folder or os.curdir: name.__eq__}
    versions = known.found.versions if known.found is not None else {}
    unfinished = {versions[number].path: _any_name for number in known.waiting if number in versions}
    return {base_path: _is_version_name} | unfinished


def _is_version_name(name: str) -> bool:
    return not not_a_version(name)


def _any_name(name: str) -> bool:
    return bool(name)
