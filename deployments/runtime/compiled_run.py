"""A way of calling a graph, run by the compiled part: one call from Python where there would be twenty.

Small arrays of numbers go as bytes, of which the compiled part makes the tensors. Where one array of a call is large,
holds strings or is not of the graph's type, all of them become tensors as `deployments.runtime.tensors` says. What is
fetched comes as bytes, too; large tensors and those of strings come as they are, and arrays become their owners.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import numpy as np

from core.errors import ResourceExhausted
from core.inference.dtypes import NUMPY_DTYPE, DataType
from deployments.runtime.library import check, ffi, new_status
from deployments.runtime.python_run import Wiring
from deployments.runtime.tensors import COPIED_BYTES, from_tensor, to_tensor

EXTENTS: Final = 256
"""Of one tensor: its size, its rank and its dimensions, of which TensorFlow allows 254."""

ALIGNMENT: Final = 16
"""Of one output's bytes among those of others, as in `native/session_run.h`."""

_array: Final = np.ndarray
_buffer: Final = ffi.buffer


class CompiledRun:
    """Runs of one session with the same feeds and fetches; they may overlap."""

    __slots__ = (
        "_call",
        "_dtypes",
        "_extension",
        "_kept",
        "_lib",
        "_numbers",
        "_rooms",
        "_session_run",
        "_unpack",
        "wiring",
    )

    def __init__(self, lib: Any, extension: Any, wiring: Wiring) -> None:
        self._lib = lib
        self._extension = extension
        self._session_run = extension.lib.session_run  # looked up once, as the cost of each look-up shows
        self._unpack = extension.ffi.unpack
        self.wiring = wiring
        new = extension.ffi.new
        self._kept = taken, given = new("int[]", wiring.feed_types), new("int[]", wiring.fetch_types)
        places = (wiring.feeds, taken, len(wiring.feed_types), wiring.fetches, given, len(wiring.fetch_types))
        self._call = new("run_wiring*", places)
        self._numbers = [None if one is DataType.STRING else NUMPY_DTYPE.get(one) for one in wiring.feed_types]
        self._dtypes = [NUMPY_DTYPE[one] for one in wiring.fetch_types]
        self._rooms: list[_Room] = []
        """Those at rest, of as many runs as there were at a time; taking and giving back are atomic operations."""

    def run(self, session: Any, arrays: Collection[np.ndarray], options: Any, metadata: Any) -> list[np.ndarray]:
        """Run once; `arrays` come in the order of the feeds."""
        pieces: list[bytes] = []
        extents: list[int] = []
        for array, dtype in zip(arrays, self._numbers, strict=True):
            size = array.nbytes
            if dtype is None or size > COPIED_BYTES or array.dtype != dtype:
                return self._run_given(session, arrays, options, metadata)
            pieces.append(array.tobytes())
            extents += (size, array.ndim, *array.shape)
        room = self._taken_room()
        try:
            count = self._session_run(
                self._call, session, options, metadata, ffi.NULL, b"".join(pieces), extents, room.place
            )
            return self._outputs(room, count)
        finally:
            self._rooms.append(room)

    def _run_given(self, session: Any, arrays: Collection[np.ndarray], options: Any, metadata: Any) -> list[np.ndarray]:
        given = ffi.new("TF_Tensor*[]", len(arrays))
        room = self._taken_room()
        try:
            for index, (array, expected) in enumerate(zip(arrays, self.wiring.feed_types, strict=True)):
                given[index] = to_tensor(self._lib, array, expected)
            inputs = self._extension.ffi.cast("void**", given)
            count = self._session_run(self._call, session, options, metadata, inputs, ffi.NULL, (), room.place)
            return self._outputs(room, count)
        finally:
            self._rooms.append(room)
            for tensor in given:
                if tensor:
                    self._lib.TF_DeleteTensor(tensor)

    def _taken_room(self) -> _Room:
        try:
            return self._rooms.pop()
        except IndexError:
            return _Room(self._lib, self._extension.ffi.new, len(self._dtypes))

    def _outputs(self, room: _Room, count: int) -> list[np.ndarray]:
        """Make the arrays of a run that gave so many extents."""
        if count < 0:
            self._fail(room, count)
        found = self._unpack(room.found, count)
        left, used = found[:2]
        content = _buffer(room.content, used)[:]
        at, start = 2, 0
        outputs = []
        try:
            for index, dtype in enumerate(self._dtypes):
                end = at + 2 + found[at + 1]
                if left and room.tensors[index]:
                    outputs.append(self._own(room.tensors, index))
                else:
                    outputs.append(_array(found[at + 2 : end], dtype, content, start))
                    start += -(-found[at] // ALIGNMENT) * ALIGNMENT
                at = end
            return outputs
        finally:
            if left:
                self._extension.lib.release_outputs(self._call, room.place)

    def _own(self, tensors: Any, index: int) -> np.ndarray:
        tensor = ffi.cast("TF_Tensor*", tensors[index])
        tensors[index] = ffi.NULL
        return from_tensor(self._lib, tensor, self.wiring.fetch_types[index])

    def _fail(self, room: _Room, count: int) -> None:
        if count == self._extension.lib.NO_MEMORY:
            raise ResourceExhausted("No memory for the tensors of a run")
        check(self._lib, room.status)


class _Room:
    """What the compiled part writes into during one run."""

    __slots__ = ("content", "found", "place", "status", "tensors")

    def __init__(self, lib: Any, new: Callable[..., Any], fetched: int) -> None:
        self.status = new_status(lib)
        self.tensors = new("void*[]", fetched)
        self.content = new("char[]", COPIED_BYTES)
        self.found = new("int64_t[]", 2 + fetched * EXTENTS)
        self.place = new("run_room*", (self.status, self.tensors, self.content, COPIED_BYTES, self.found))
