"""Rules of the node-local cache: names of entries, whether an entry is intact, and which are evicted for a new one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from core.errors import ResourceExhausted

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_READABLE = 60


def url_name(url: str) -> str:
    """Return the name of everything that belongs to one URL: readable for operators, and unique."""
    return f"{_readable(url)}-{_digest(url)}"


def entry_name(url: str, fingerprint: str) -> str:
    """Return the name of the entry for one content of one URL."""
    return f"{_readable(url)}-{_digest(url, fingerprint)}"


def _readable(url: str) -> str:
    """Take model and version from the end of the URL, where folders that lead to the model may follow."""
    parts = url.rstrip("/").split("/")
    version = max((place for place, part in enumerate(parts) if part.isdecimal()), default=len(parts) - 1)
    ends = [_NOT_IN_NAMES.sub("_", part) for part in parts[max(0, version - 1) : version + 1]]
    return "-".join(ends).strip("-.")[-_LONGEST_READABLE:] or "version"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class FileState:
    """Size and time of the last change of a file in the cache."""

    size_bytes: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of an entry: its source, and its files as they were when they were verified."""

    url: str
    fingerprint: str
    files: Mapping[str, FileState]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(one.size_bytes for one in self.files.values())

    def to_text(self) -> str:
        """Write the manifest."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_text(cls, text: str) -> Manifest | None:
        """Return the manifest that a text holds; None when it is not one."""
        try:
            fields = json.loads(text)
            files = {
                path: FileState(int(one["size_bytes"]), int(one["changed_ns"])) for path, one in fields["files"].items()
            }
            return cls(str(fields["url"]), str(fields["fingerprint"]), files)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def damage(manifest: Manifest | None, url: str, fingerprint: str, found: Mapping[str, FileState]) -> str:
    """Return what is wrong with an entry; empty when it can be loaded.

    Only sizes and times are compared, which costs next to nothing; a change that restores the time is not detected.
    """
    if manifest is None or (manifest.url, manifest.fingerprint) != (url, fingerprint):
        return "its manifest is missing or broken"
    for path, then in manifest.files.items():
        now = found.get(path)
        if now is None:
            return f"{path} is missing"
        if now != then:
            return f"{path} was changed"
    more = sorted(set(found) - set(manifest.files))
    return f"{more[0]} was added" if more else ""


@dataclass(frozen=True, slots=True)
class Occupant:
    """An entry or a fetch that takes space in the cache; `used_s` is the time of its last use."""

    name: str
    size_bytes: int
    used_s: float
    is_in_use: bool


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes the cache may hold, and how many are free on its disk."""

    limit_bytes: int
    free_bytes: int


def victims(occupants: Iterable[Occupant], wanted_bytes: int, present_bytes: int, room: Room) -> tuple[str, ...]:
    """Return what is evicted for a version of `wanted_bytes`, of which `present_bytes` are there already.

    The least recently used goes first, and never one in use. Raises ResourceExhausted when that is not enough; then
    nothing is evicted.
    """
    present = sorted(occupants, key=lambda one: one.used_s)
    over_limit = sum(one.size_bytes for one in present) + wanted_bytes - room.limit_bytes
    over_disk = wanted_bytes - present_bytes - room.free_bytes
    chosen: list[str] = []
    missing = max(over_limit, over_disk)
    for one in present:
        if missing > 0 and not one.is_in_use:
            chosen.append(one.name)
            missing -= one.size_bytes
    if missing <= 0:
        return tuple(chosen)
    if over_disk > over_limit:
        raise ResourceExhausted(
            f"The disk of the model cache has no room for a version of {wanted_bytes} bytes: "
            f"{room.free_bytes} bytes are free, and what could be deleted is not enough"
        )
    held = sum(one.size_bytes for one in present if one.is_in_use)
    raise ResourceExhausted(
        f"The model cache has no room for a version of {wanted_bytes} bytes: running versions hold {held} of "
        f"{room.limit_bytes} bytes (flag model_cache_max_bytes)"
    )
