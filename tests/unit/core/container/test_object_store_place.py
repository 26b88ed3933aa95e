"""Ray's object store goes where there is room for it, and says so where there is none."""

from __future__ import annotations

import pytest

from core.container.object_store_place import OBJECT_STORE_BYTES, ObjectStorePlace, object_store_place

MIB = 1024 * 1024
SESSION = "/tmp/rms-1"


@pytest.mark.parametrize(
    ("shared_mib", "session_mib", "folder", "size_mib"),
    [
        (24_000, 90_000, "/dev/shm", 256),
        (256, 90_000, "/dev/shm", 256),
        (64, 90_000, SESSION, 256),  # a container as Docker makes it
        (64, 256, SESSION, 256),
        (0, 256, SESSION, 256),
        (100, 80, "/dev/shm", 75),
        (64, 80, SESSION, 75),
    ],
)
def test_the_store_goes_where_it_has_room(shared_mib: int, session_mib: int, folder: str, size_mib: int) -> None:
    """Shared memory first; a smaller one only where neither folder has room for the usual one. Nothing is said."""
    place = object_store_place(shared_mib * MIB, SESSION, session_mib * MIB)

    assert (place.folder, place.size_bytes, place.warning) == (folder, size_mib * MIB, "")


@pytest.mark.parametrize(
    ("shared_mib", "session_mib", "folder"), [(64, 10, "/dev/shm"), (10, 64, SESSION), (0, 0, "/dev/shm")]
)
def test_too_little_room_is_said_with_what_to_do(shared_mib: int, session_mib: int, folder: str) -> None:
    """The server starts all the same: the store is mostly empty."""
    place = object_store_place(shared_mib * MIB, SESSION, session_mib * MIB)

    assert (place.folder, place.size_bytes) == (folder, 75 * MIB)
    assert place.warning.startswith(
        f"Ray's object store has {max(shared_mib, session_mib)} MiB below {folder}, and may need 75 MiB"
    )
    assert "--shm-size" in place.warning


def test_a_place_with_just_enough_is_silent() -> None:
    """The whole store and no byte more."""
    assert ObjectStorePlace(SESSION, OBJECT_STORE_BYTES, OBJECT_STORE_BYTES).warning == ""
    assert ObjectStorePlace(SESSION, OBJECT_STORE_BYTES, OBJECT_STORE_BYTES - 1).warning != ""
