"""What shows at one look that a SavedModel is completely written: its own files say what belongs to it.

`saved_model.pb` ends where its fields end and names the files of `assets`, and the index of the variables says how long
each of their files is. Nothing lists what is in `assets.extra`, so two things more are asked of a version. Its
`saved_model.pb` was written last, as `tf.saved_model.save` and TFX's Pusher do; and it has whatever an earlier version
has beside its model.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from core.storage.version_listing import CHANGING, DirectoryFiles, Judged, VersionDirectory

MODEL = "saved_model.pb"
INDEX = "variables/variables.index"
WRITTEN_AFTER = frozenset({"fingerprint.pb", "keras_metadata.pb"})
"""Files that TensorFlow and Keras write after `saved_model.pb`, and that no server needs."""

REST_S = 0.2
"""How long the files must be the same: a writer of another order pauses less before its next file."""

MOST_INDEX_BYTES = 4 * 2**20
"""A larger index is not read: a second look is cheaper."""

MOST_FIELDS = 10_000
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_TABLE_MAGIC = 0xDB4775248B80FB57
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_HEAD_BYTES = 20
"""A tag and a length take no more."""

ReadAt = Callable[[int, int], bytes]
"""Returns the bytes of a file from a place up to another one, or fewer at its end."""


class Unreadable(ValueError):
    """Bytes that are not what they should be, or end too early."""


class NotRead(Unreadable):
    """Bytes that may be what they should be, and that are not read to their end."""


def finished_last(known: Judged, wall_s: float) -> Iterator[VersionDirectory]:
    """Yield the versions that wait for a second look alone, and whose `saved_model.pb` was written last."""
    versions = known.found.versions if known.found is not None else {}
    for number, why in known.waiting.items():
        if why == CHANGING and number in versions and _is_last(versions[number].files, wall_s):
            earlier = max((one for one in versions if one not in known.waiting), default=None)
            extras = _extras(versions[earlier].files) if earlier is not None else frozenset()
            if extras <= _extras(versions[number].files):
                yield versions[number]


def _is_last(files: DirectoryFiles, wall_s: float) -> bool:
    """Whether no file that counts changed after `saved_model.pb`, and none at all within `REST_S`."""
    changed = {one.path: one.changed_s for one in files if one.changed_s is not None}
    if MODEL not in changed or len(changed) < len(files) or max(changed.values()) > wall_s - REST_S:
        return False
    return all(at_s <= changed[MODEL] for path, at_s in changed.items() if path not in WRITTEN_AFTER)


def _extras(files: DirectoryFiles) -> frozenset[str]:
    """Return the files that no other file names."""
    named = ("variables/", "assets/")
    paths = (one.path for one in files if one.path != MODEL and one.path not in WRITTEN_AFTER)
    return frozenset(path for path in paths if not path.startswith(named))


def is_all_there(files: DirectoryFiles, model: ReadAt, index: bytes) -> bool:
    """Whether a SavedModel's files are whole, by `saved_model.pb` and the content of the index of its variables."""
    sizes = {one.path: one.size_bytes for one in files}
    try:
        assets = asset_files(model, sizes.get(MODEL, 0))
        shards = shard_sizes(index)
    except Unreadable:
        return False
    of = max(shards, default=-1) + 1
    names = {f"variables/variables.data-{shard:05d}-of-{of:05d}": size for shard, size in shards.items()}
    is_written = all(sizes.get(name) == size for name, size in names.items())
    return is_written and all(f"assets/{name}" in sizes for name in assets)


def asset_files(read: ReadAt, size_bytes: int) -> frozenset[str]:
    """Return the names of the assets of a SavedModel, of which few bytes are read.

    Raises Unreadable if it is cut off, and NotRead if it has more than `MOST_FIELDS` fields in a row.
    Fields: SavedModel.meta_graphs = 2, MetaGraphDef.asset_file_def = 6, AssetFileDef.filename = 2.
    """
    graphs = [one for one in _fields(read, 0, size_bytes) if one.number == 2]
    if not graphs:
        raise Unreadable("no graphs")
    assets = [one for graph in graphs for one in _fields(read, graph.start, graph.end) if one.number == 6]
    names = [one for asset in assets for one in _fields(read, asset.start, asset.end) if one.number == 2]
    return frozenset(read(one.start, one.end).decode(errors="surrogateescape") for one in names)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a message: its number, and where its content is."""

    number: int
    start: int
    end: int


def _fields(read: ReadAt, start: int, end: int) -> Iterator[_Field]:
    """Yield the fields of a message that must end where it does; raises Unreadable, or NotRead for too many."""
    for _ in range(MOST_FIELDS):
        if start == end:
            return
        head = read(start, min(start + _HEAD_BYTES, end))
        tag, at = _varint(head, 0)
        begin = start + at
        length, at = _content(head, at, tag & 7)
        start = begin + at
        if not tag >> 3 or start > end:
            raise Unreadable("a field is cut off")
        yield _Field(tag >> 3, start - length, start)
    raise NotRead("too many fields")


def _content(head: bytes, at: int, wire_type: int) -> tuple[int, int]:
    """Return how long the content of a field is, and how far after its tag it ends."""
    if wire_type == _LENGTH_DELIMITED:
        length, after = _varint(head, at)
        return length, after - at + length
    if wire_type == _VARINT:
        _, after = _varint(head, at)
        return after - at, after - at
    size = {_FIXED64: 8, _FIXED32: 4}.get(wire_type)
    if size is None:
        raise Unreadable("not a field")
    return size, size


def shard_sizes(index: bytes) -> Mapping[int, int]:
    """Return the bytes of each data file of a checkpoint, by the table that is its index.

    Raises Unreadable if it is cut off or is not such a table, and NotRead if it is compressed.
    The table is TensorFlow's (`tensorflow/core/lib/io/table_format.txt`), uncompressed as the writer of checkpoints has
    it. A value is a BundleEntryProto: shard_id = 3, offset = 4, size = 5; that of the empty key is the header, with
    num_shards = 1.
    """
    if len(index) < _FOOTER_BYTES or struct.unpack_from("<Q", index, len(index) - 8)[0] != _TABLE_MAGIC:
        raise Unreadable("not a table")
    footer = index[-_FOOTER_BYTES:]
    at = 0
    for _ in range(2):  # the place of the metadata
        _, at = _varint(footer, at)
    sizes: dict[int, int] = {}
    for _, handle in _entries(_block(index, footer[at:])):
        for key, value in _entries(_block(index, handle)):
            numbers = _numbers(value)
            if key:
                shard, ends = numbers.get(3, 0), numbers.get(4, 0) + numbers.get(5, 0)
                sizes[shard] = max(sizes.get(shard, 0), ends)
            else:
                sizes |= {shard: sizes.get(shard, 0) for shard in range(min(numbers.get(1, 0), MOST_FIELDS))}
    if not sizes:
        raise Unreadable("no shards")
    return sizes


def _block(table: bytes, handle: bytes) -> bytes:
    start, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    if start + size + _TRAILER_BYTES > len(table):
        raise Unreadable("a block is cut off")
    if table[start + size]:
        raise NotRead("a block is compressed")
    return table[start : start + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block: each key is a part of the one before and some bytes more."""
    if len(block) < 4:
        raise Unreadable("a block is cut off")
    restarts = struct.unpack_from("<I", block, len(block) - 4)[0]
    end = len(block) - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or at + own + size > end:
            raise Unreadable("an entry is cut off")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def _numbers(message: bytes) -> Mapping[int, int]:
    """Return the whole numbers among the fields of a message."""
    numbers: dict[int, int] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == _VARINT:
            numbers[tag >> 3], at = _varint(message, at)
        else:
            _, length = _content(message, at, tag & 7)
            at += length
    return numbers


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Unreadable("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Unreadable("a number is too long")
