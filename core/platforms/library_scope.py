"""What the loader of shared libraries reads: a library that gives another one a scope, and whether a file is whole.

A scope says where the loader looks for the symbols of a library, and in which order.

Libraries of operations bring their own copies of parts of TensorFlow, and work only with TensorFlow's: a map that one
copy has filled, the other searches with another seed, and ends the process when it finds nothing. Python TensorFlow
makes its symbols those of the whole process; numpy, when it is imported later, then finds TensorFlow's instead of its
own, and crashes. The loader searches the libraries that a library needs in their order. So a library that needs
TensorFlow's first and the operations second gives these TensorFlow's symbols, and nobody else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

ELF_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
ELF_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
ENTRY: Final = struct.Struct("<qQ")
SYMBOL_BYTES: Final = 24

MACHINE, SEGMENTS_AT, SEGMENT_BYTES, SEGMENT_COUNT = 2, 5, 9, 10
"""Fields of the ELF header."""

IN_FILE_AT, IN_FILE_BYTES = 2, 5
"""Fields of a program header."""

IDENTITY: Final = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
SHARED, LOAD, DYNAMIC = 3, 1, 2
STACK: Final = 0x6474E551
"""Says what the stacks of a process need; a library without it makes them executable."""

READABLE_WRITABLE: Final = 6
"""The loader writes addresses into the table of the dynamic segment."""

NEEDED, HASH, STRINGS, SYMBOLS, STRINGS_BYTES, SYMBOL_ENTRY = 1, 4, 5, 6, 10, 11
PAGE: Final = 0x10000
EMPTY_HASH: Final = struct.pack("<4I", 1, 1, 0, 0)
"""A table with one bucket, and in it the one symbol that every library has: that without a name."""


def scope_library(needed: Sequence[bytes], machine: int) -> bytes:
    """Return a shared library of 64 bits that needs others, in this order, by name or path, and has nothing itself.

    `machine` is the number of the processor in the ELF header (System V ABI, "ELF Header", "Dynamic Section").
    """
    names = b"\0" + b"".join(name + b"\0" for name in needed)
    places = [1 + sum(len(name) + 1 for name in needed[:index]) for index in range(len(needed))]
    table_at = ELF_HEADER.size + 3 * ELF_SEGMENT.size
    table_bytes = ENTRY.size * (len(needed) + 6)
    hash_at = table_at + table_bytes
    symbols_at = hash_at + len(EMPTY_HASH)
    names_at = symbols_at + SYMBOL_BYTES
    entries = [
        *((NEEDED, place) for place in places),
        (HASH, hash_at),
        (STRINGS, names_at),
        (SYMBOLS, symbols_at),
        (STRINGS_BYTES, len(names)),
        (SYMBOL_ENTRY, SYMBOL_BYTES),
        (0, 0),
    ]
    size = names_at + len(names)
    header = (IDENTITY, SHARED, machine, 1, 0, ELF_HEADER.size, 0, 0, ELF_HEADER.size, ELF_SEGMENT.size, 3, 0, 0, 0)
    segments = ((LOAD, 0, size, PAGE), (DYNAMIC, table_at, table_bytes, ENTRY.size), (STACK, 0, 0, 16))
    return b"".join(
        (
            ELF_HEADER.pack(*header),
            *(ELF_SEGMENT.pack(kind, READABLE_WRITABLE, at, at, at, n, n, align) for kind, at, n, align in segments),
            *(ENTRY.pack(*entry) for entry in entries),
            EMPTY_HASH,
            bytes(SYMBOL_BYTES),
            names,
        )
    )


def elf_machine(head: bytes) -> int:
    """Return the number of the processor that a library is for; `head` is its beginning, at least the ELF header."""
    return int(ELF_HEADER.unpack_from(head)[MACHINE])


def is_cut_short(head: bytes, size: int) -> bool:
    """Whether a library is shorter than its segments: the loader would end the process on such a file.

    `head` is the beginning of the file with its program headers, `size` its length in bytes. What is not ELF of 64 bits
    with low bytes first is left to the loader, whose texts users know.
    """
    if not head.startswith(IDENTITY[:6]) or len(head) < ELF_HEADER.size:
        return False
    header = ELF_HEADER.unpack_from(head)
    places = (header[SEGMENTS_AT] + index * header[SEGMENT_BYTES] for index in range(header[SEGMENT_COUNT]))
    segments = (ELF_SEGMENT.unpack_from(head, at) for at in places if at + ELF_SEGMENT.size <= len(head))
    return any(segment[IN_FILE_AT] + segment[IN_FILE_BYTES] > size for segment in segments)
