"""Which names of directories are version numbers (TensorFlow Serving, file-system source)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from core.config.version_policy import All, VersionPolicy

HIGHEST_VERSION = 2**63 - 1

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*", re.ASCII)


def version_directories(children: Iterable[str], policy: VersionPolicy) -> tuple[Mapping[int, str], Mapping[str, str]]:
    """Sort the names found below a base path: version to directory name, and ignored name to reason.

    Deeper paths, as object stores give them, count by their first part. Of several names for one number (`1`, `001`),
    policy All takes the first and the others the last, as sorted by name (TensorFlow Serving, file-system source).
    """
    names = sorted({name for child in children if (name := child.partition("/")[0])}, reverse=isinstance(policy, All))
    ignored = {name: reason for name in names if (reason := not_a_version(name))}
    directories = {int(name): name for name in names if name not in ignored}
    losers = (name for name in names if name not in ignored and directories[int(name)] != name)
    return directories, ignored | {name: f"same version as {directories[int(name)]}" for name in losers}


def version_places(path: str, subpath: str) -> Iterator[str]:
    """Yield the folder of a version's model, and the folders above it, up to the version's own."""
    yield path
    for part in reversed(subpath.split("/") if subpath else ()):
        path = path[: -len(part) - 1]
        yield path


def not_a_version(name: str) -> str:
    """Return why a directory name is not a version number; empty if it is one (TensorFlow Serving, directory scan)."""
    number = _NUMBER.fullmatch(name)
    if number is None:
        return "not a whole number"
    if len(number[1].lstrip("+-0")) > len(str(HIGHEST_VERSION)) or abs(int(number[1])) > HIGHEST_VERSION:
        return "number too large"
    return "negative number" if int(number[1]) < 0 else ""
