"""Where Ray's object store of a server alone on its node lies, and how large it is.

Docker and Kubernetes give a container 64 MiB of `/dev/shm`, where TensorFlow Serving needs none. Ray's own choice would
then be the folder of its session, with a warning of five lines whatever room that has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - a mount, not a file of ours

OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024
"""Requests do not pass through Ray's object store; only large answers over the handle transport do."""

LEAST_OBJECT_STORE_BYTES: Final = 75 * 1024 * 1024
"""What Ray asks for at least. The file is sparse, so that a store in which nothing is takes nothing."""


@dataclass(frozen=True, slots=True)
class ObjectStorePlace:
    """A folder for the file that Ray's processes share, the size of that file, and the room that the folder has."""

    folder: str
    size_bytes: int
    free_bytes: int

    @property
    def warning(self) -> str:
        """What may happen, and what to do, if the folder has less room than the store; empty otherwise."""
        if self.free_bytes >= self.size_bytes:
            return ""
        return (
            f"Ray's object store has {self.free_bytes >> 20} MiB below {self.folder}, and may need "
            f"{self.size_bytes >> 20} MiB for large answers over Serve's own transport. Give the container a larger "
            f"{SHARED_MEMORY} (--shm-size=512m), or a disk for temporary files."
        )


def object_store_place(shared_free_bytes: int, session_folder: str, session_free_bytes: int) -> ObjectStorePlace:
    """Choose `/dev/shm` where it has room for the whole store, else the session's folder; else a small store.

    Whether it is memory or a disk below the session's folder makes no difference while nothing is in the store.
    """
    places = {SHARED_MEMORY: shared_free_bytes, session_folder: session_free_bytes}
    for size_bytes in (OBJECT_STORE_BYTES, LEAST_OBJECT_STORE_BYTES):
        for folder, free_bytes in places.items():
            if free_bytes >= size_bytes:
                return ObjectStorePlace(folder, size_bytes, free_bytes)
    roomiest = max(places, key=lambda folder: places[folder])
    return ObjectStorePlace(roomiest, LEAST_OBJECT_STORE_BYTES, places[roomiest])
