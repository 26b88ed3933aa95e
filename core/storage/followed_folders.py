"""Which local folders are followed for a model, so that the kernel tells of its versions before storage is polled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from core.storage.directory_names import not_a_version, version_places
from core.storage.version_listing import Judged

Names = Callable[[str], bool]
"""Which names in a folder are of interest."""


def followed_folders(base_path: str, known: Judged, *, is_there: bool, subpath: str = "") -> Mapping[str, Names]:
    """Return the folders to follow for a local base path, each with the names that count there.

    The one that it lies in, for its name alone: it may appear there, and a link may be set to another folder. Its own,
    for versions and for nothing else that somebody may write there; and those of versions that are not complete, down
    to the one that holds the model, for any file.
    """
    folder, name = os.path.split(base_path.rstrip(os.sep))
    above: dict[str, Names] = {folder or os.curdir: name.__eq__}
    if not is_there:
        return above
    versions = known.found.versions if known.found is not None else {}
    unfinished = (versions[number].path for number in known.waiting if number in versions)
    places = (place for path in unfinished for place in version_places(path, subpath))
    return above | {base_path: _is_version_name} | dict.fromkeys(places, _any_name)


def _is_version_name(name: str) -> bool:
    return not not_a_version(name)


def _any_name(name: str) -> bool:
    return bool(name)
