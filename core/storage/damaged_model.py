"""Says which file of a SavedModel is damaged, how long it is, and what was expected: the runtime names none of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.storage.whole_saved_model import INDEX, MODEL, NotRead, ReadAt, Unreadable, asset_files, shard_sizes

POINTER = b"version https://git-lfs"
"""What Git LFS leaves in place of a file that it has not fetched."""

HEAD_BYTES = 64


def damaged_file(sizes: Mapping[str, int], model: ReadAt, index: bytes | None) -> str:
    """Return what is wrong with the files of a SavedModel (`sizes` in bytes by path); empty where nothing is found.

    `index` is the whole content of the index of the variables; None where it is too long to be read.
    """
    return next(_damages(sizes, model, index), "")


def _damages(sizes: Mapping[str, int], model: ReadAt, index: bytes | None) -> Iterator[str]:
    if MODEL in sizes:
        yield from _of_model(sizes[MODEL], model)
    if INDEX in sizes and index is not None:
        yield from _of_variables(sizes, index)


def _of_model(size_bytes: int, read: ReadAt) -> Iterator[str]:
    head = read(0, min(HEAD_BYTES, size_bytes))
    if not size_bytes:
        yield f"{MODEL} is empty"
    elif head.startswith(POINTER):
        yield f"{MODEL} ({size_bytes:,} bytes) is a pointer of Git LFS and not the file: fetch it (git lfs pull)"
    else:
        try:
            asset_files(read, size_bytes)
        except NotRead:
            return
        except Unreadable:
            yield (
                f"{MODEL} ({size_bytes:,} bytes) is cut off or is not a SavedModel: a serialized "
                "tensorflow.SavedModel, which ends where its last field does, was expected"
            )


def _of_variables(sizes: Mapping[str, int], index: bytes) -> Iterator[str]:
    if index.startswith(POINTER):
        yield f"{INDEX} ({len(index):,} bytes) is a pointer of Git LFS and not the file: fetch it (git lfs pull)"
        return
    try:
        expected = shard_sizes(index)
    except NotRead:
        return
    except Unreadable:
        yield f"{INDEX} ({sizes[INDEX]:,} bytes) is cut off or is not the index of a checkpoint"
        return
    of = max(expected, default=-1) + 1
    for shard, size_bytes in sorted(expected.items()):
        name = f"variables/variables.data-{shard:05d}-of-{of:05d}"
        if name not in sizes:
            yield f"{name} is missing: {INDEX} says that it has {size_bytes:,} bytes"
        elif sizes[name] < size_bytes:
            yield f"{name} is cut off: it has {sizes[name]:,} bytes, and {INDEX} says that it has {size_bytes:,}"
