"""Finds a version at a path: a folder with a model, the newest below a base path, or either in a store."""

from __future__ import annotations

import shlex
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
from core.storage.layout_hints import inner_folder, shown_outside, subpath_hint
from core.storage.version_listing import is_remote, local_path
from core.storage.whole_saved_model import INDEX
from deployments.runtime.damaged_files import LONGEST_INDEX_BYTES
from deployments.storage.any_store import AnyStore
from deployments.storage.version_source import nearest_files

SESSION_BUNDLE: Final = "export.meta"
MODEL_FILES: Final = (*ANY.files, SESSION_BUNDLE)
"""Files that show that a folder is a version itself."""

LARGEST_FETCHED_BYTES: Final = 1024**3
"""Bytes of a store that are fetched to be inspected; the values of variables are not, nor is a very long index."""


@dataclass(frozen=True, slots=True)
class VersionFolder:
    """The files of a version as a local folder; `path` is what people know it by, `sizes` has bytes by relative path.

    `version` is None for a folder whose name is not a number; the folder around it is the `model`. The path ends in the
    `subpath`, which leads from the version's folder to its files.
    """

    folder: Path
    path: str
    sizes: Mapping[str, int]
    subpath: str = ""

    @property
    def _name(self) -> PurePosixPath:
        return PurePosixPath(self.path.rstrip("/").removesuffix(f"/{self.subpath}"))

    @property
    def version(self) -> int | None:
        found, _ = version_directories([self._name.name], Latest())
        return next(iter(found), None)

    @property
    def model(self) -> str:
        return self._name.parent.name if self.version is not None else self._name.name


@contextmanager
def opened_version(path: str, version: int | None = None, subpath: str = "") -> Iterator[VersionFolder]:
    """Yield the version at a path or URL, or the one of a number below it; raises NotFound and StorageFailed.

    `subpath` leads from a version's folder to its files, as `version_subpath` of a model does.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="ray_model_server-inspect-") as made:
            yield _fetched(path.rstrip("/"), version, subpath, Path(made))
        return
    root = Path(local_path(path)).absolute()
    if not root.is_dir():
        raise NotFound(f"{root} is not a folder" if root.exists() else f"{root} is not there")
    try:
        folders = [one.name for one in root.iterdir() if one.is_dir()]
        is_version = any((root / below / name).is_file() for name in MODEL_FILES for below in ("", subpath))
        below = "" if is_version and version is None else _chosen(nearest_files(str(root)), folders, version, str(root))
        folder = root / below
        files = (one for one in sorted(folder.rglob("*")) if one.is_file())
        sizes = _led({str(one.relative_to(folder)): one.stat().st_size for one in files}, subpath, str(folder))
    except OSError as error:
        raise NotFound(f"{root} cannot be read: {error.strerror}") from error
    yield VersionFolder(folder / subpath, str(folder / subpath), sizes, subpath)


def _fetched(url: str, version: int | None, subpath: str, folder: Path) -> VersionFolder:
    store = AnyStore()
    found = {path: one.size_bytes for path, one in store.list_files(url).items()}
    folders = {path.partition("/")[0] for path in found if "/" in path}
    is_version = any(name in found or f"{subpath}/{name}" in found for name in MODEL_FILES)
    below = "" if is_version and version is None else _chosen(found, folders, version, url)
    sizes = _led(_within(found, below), subpath, f"{url}/{below}" if below else url)
    place = "/".join(one for one in (url, below, subpath) if one)
    wanted = [path for path, size in sizes.items() if _is_read(path, size, sizes)]
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
    return VersionFolder(folder, place, sizes, subpath)


def _is_read(path: str, size_bytes: int, files: Collection[str]) -> bool:
    """Whether an inspection reads a file: of the variables of a SavedModel the index alone, which names their sizes."""
    if path == INDEX:
        return size_bytes <= LONGEST_INDEX_BYTES
    return not path.startswith("variables/") or not any(name in files for name in SAVED_MODEL_FILES)


def _chosen(files: Iterable[str], folders: Iterable[str], version: int | None, path: str) -> str:
    """Return the name of the version's folder in a base path, which has `files` in and below it."""
    directories, _ = version_directories(folders, Latest())
    if version is not None:
        if version in directories:
            return directories[version]
        numbers = ", ".join(map(str, sorted(directories))) or "none"
        raise NotFound(f"{path} has no version {version}; the versions there are: {numbers}")
    if not directories:
        raise NotFound(
            f"{path} is neither a version nor a base path: it has no {TENSORFLOW.files[0]} or other model, and no "
            f"folder whose name is a number{subpath_advice(files)}"
        )
    return directories[max(directories)]


def subpath_advice(files: Iterable[str]) -> str:
    """Return the rest of a sentence that says with which `--subpath` the model among files is found, or nothing."""
    inner = inner_folder(shown_outside(files))
    return f"; a model lies in {inner}/: add --subpath {shlex.quote(inner)}" if inner else ""


def _led(sizes: Mapping[str, int], subpath: str, folder: str) -> Mapping[str, int]:
    """Return the files to which a subpath leads; raises NotFound where there are none, with what there is instead."""
    found = _within(sizes, subpath)
    if not found and subpath:
        raise NotFound(f"{folder}: {subpath_hint(subpath, shown_outside(sizes))}")
    return found


def _within(sizes: Mapping[str, int], below: str) -> Mapping[str, int]:
    if not below:
        return sizes
    return {path.removeprefix(f"{below}/"): size for path, size in sizes.items() if path.startswith(f"{below}/")}
