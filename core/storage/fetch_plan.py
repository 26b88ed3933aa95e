"""The plan of a fetch from a remote store: its pieces, and what is kept of an earlier attempt.

Nothing here reads or writes; `deployments.storage.version_fetch` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from core.storage.version_listing import DirectoryFiles, FileEntry

CHUNK_BYTES = 8 * 2**20
"""Bytes of one request; the last one of a file is smaller."""

LONGEST_NAME_BYTES = 255


def chunks(begun_bytes: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the pieces of a file that are still to be fetched."""
    for start in range(begun_bytes, size_bytes, CHUNK_BYTES):
        yield start, min(start + CHUNK_BYTES, size_bytes)


def unusable_name(files: DirectoryFiles) -> str:
    """Return the first file that cannot be stored in a local directory, or only outside of it; empty if there is none.

    Object stores allow any name: `../x`, `a//b`, or both `a` and `a/b`.
    """
    paths = {one.path for one in files}
    for path in sorted(paths):
        parts = path.split("/")
        if any(_is_not_a_file_name(part) for part in parts):
            return path
        if any("/".join(parts[:depth]) in paths for depth in range(1, len(parts))):
            return path
    return ""


def _is_not_a_file_name(part: str) -> bool:
    too_long = len(part.encode(errors="surrogateescape")) > LONGEST_NAME_BYTES
    return part in {"", ".", ".."} or "\0" in part or too_long


def identity(file: FileEntry) -> str:
    """Return a name for this content at this path; empty where the store reports too little to recognise it again."""
    if not file.etag and file.changed_s is None:
        return ""
    shown = f"{file.path}\0{file.size_bytes}\0{file.changed_s}\0{file.etag}"
    return hashlib.sha256(shown.encode(errors="surrogateescape")).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A line in the journal of a fetch: this file lies on the disk, whole and verified, with this MD5."""

    path: str
    identity: str
    md5: str

    def to_line(self) -> str:
        """Write the line."""
        return json.dumps(asdict(self)) + "\n"


def finished_files(journal: str, files: Iterable[FileEntry]) -> Mapping[str, FinishedFile]:
    """Return which of these files an earlier attempt finished; lines of other content, or cut short, do not count."""
    wanted = {one.path: identity(one) for one in files}
    lines = (_read(line) for line in journal.splitlines())
    return {
        line.path: line
        for line in lines
        if line is not None and line.identity and wanted.get(line.path) == line.identity
    }


def _read(line: str) -> FinishedFile | None:
    try:
        return FinishedFile(**json.loads(line))
    except (TypeError, ValueError):
        return None
