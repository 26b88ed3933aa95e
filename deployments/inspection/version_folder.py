"""Finds a version at a path: a folder with a model, the newest below a base path, or either in a store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from core.config.extensions import ANY, SAVED_MODEL_FILES, TENSORFLOW
from core.config.version_policy import Latest
from core.errors import InvalidArgument, NotFound, ResourceExhausted
from core.storage.directory_names import version_directories
from core.storage.version_listing import is_remote, local_path
from deployments.storage.any_store import AnyStore

SESSION_BUNDLE: Final = "export.meta"
MODEL_FILES: Final = (*ANY.files, SESSION_BUNDLE)
"""Files that show that a folder is a version itself."""

LARGEST_FETCHED_BYTES: Final = 1024**3
"""Bytes of a store that are fetched to be inspected; the values of variables are not."""


@dataclass(frozen=True, slots=True)
class VersionFolder:
    """The files of a version as a local folder; `path` is what people know it by, `sizes` has bytes by relative path.

    `version` is None for a folder whose name is not a number; the folder around it is the `model`.
    """

    folder: Path
    path: str
    sizes: Mapping[str, int]

    @property
    def _name(self) -> PurePosixPath:
        return PurePosixPath(self.path.rstrip("/"))

    @property
    def version(self) -> int | None:
        found, _ = version_directories([self._name.name], Latest())
        return next(iter(found), None)

    @property
    def model(self) -> str:
        return self._name.parent.name if self.version is not None else self._name.name


@contextmanager
def opened_version(path: str, version: int | None = None) -> Iterator[VersionFolder]:
    """Yield the version at a path or URL, or the one of a number below it; raises NotFound and StorageFailed."""
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="ray_model_server-inspect-") as made:
            yield _fetched(path.rstrip("/"), version, Path(made))
        return
    root = Path(local_path(path)).absolute()
    if not root.is_dir():
        raise NotFound(f"{root} is not a folder" if root.exists() else f"{root} is not there")
    try:
        names = os.listdir(root)
        folder = root / _chosen([one for one in names if not (root / one).is_dir()], names, version, str(root))
        sizes = {str(one.relative_to(folder)): one.stat().st_size for one in sorted(folder.rglob("*")) if one.is_file()}
    except OSError as error:
        raise NotFound(f"{root} cannot be read: {error.strerror}") from error
    yield VersionFolder(folder, str(folder), sizes)


def _fetched(url: str, version: int | None, folder: Path) -> VersionFolder:
    store = AnyStore()
    found = {path: one.size_bytes for path, one in store.list_files(url).items()}
    below = _chosen(found, found, version, url)
    sizes = _within(found, below)
    place = f"{url}/{below}" if below else url
    has_graph = any(name in sizes for name in SAVED_MODEL_FILES)
    wanted = [path for path in sizes if not (has_graph and path.startswith("variables/"))]
    total = sum(sizes[path] for path in wanted)
    if total > LARGEST_FETCHED_BYTES:
        raise ResourceExhausted(
            f"{place} has {total:,} bytes to be read; {LARGEST_FETCHED_BYTES:,} are fetched at most"
        )
    for path in wanted:
        target = folder / path
        if not target.resolve().is_relative_to(folder.resolve()):
            raise InvalidArgument(f"{place} has a file whose name leads out of it: {path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.read(place, path, 0, sizes[path]))
    return VersionFolder(folder, place, sizes)


def _chosen(files: Collection[str], children: Iterable[str], version: int | None, path: str) -> str:
    """Return the folder of the version, relative to the path; empty where the path is the version."""
    if version is None and any(name in files for name in MODEL_FILES):
        return ""
    directories, _ = version_directories([one for one in children if "/" in one or one not in files], Latest())
    if version is not None:
        if version in directories:
            return directories[version]
        numbers = ", ".join(map(str, sorted(directories))) or "none"
        raise NotFound(f"{path} has no version {version}; the versions there are: {numbers}")
    if not directories:
        raise NotFound(
            f"{path} is neither a version nor a base path: it has no {TENSORFLOW.files[0]} or other model, and no "
            "folder whose name is a number"
        )
    return directories[max(directories)]


def _within(sizes: Mapping[str, int], below: str) -> Mapping[str, int]:
    if not below:
        return sizes
    return {path.removeprefix(f"{below}/"): size for path, size in sizes.items() if path.startswith(f"{below}/")}
