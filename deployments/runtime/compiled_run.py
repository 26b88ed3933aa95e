"""A way of calling a graph, run by the compiled part: one call from Python where there would be twenty.

Small arrays of numbers go as bytes, of which the compiled part makes the tensors. Where one array of a call is large,
holds strings or is not of the graph's type, all of them become tensors as `deployments.runtime.tensors` says. What is
fetched stays in the compiled part's places until it was copied, or until an array has become its owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from core.errors import ResourceExhausted
from core.inference.dtypes import NUMPY_DTYPE, DataType
from deployments.runtime.library import check, ffi, thread_status
from deployments.runtime.python_run import Wiring
from deployments.runtime.tensors import COPIED_BYTES, copied_array, from_tensor, to_tensor

NO_MEMORY: Final = -1


class CompiledRun:
    """Runs of one session with the same feeds and fetches; they may overlap."""

    __slots__ = ("_call", "_extension", "_kept", "_lib", "_numbers", "_places", "wiring")

    def __init__(self, lib: Any, extension: Any, wiring: Wiring) -> None:
        self._lib = lib
        self._extension = extension
        self.wiring = wiring
        self._kept = types = extension.ffi.new("int[]", wiring.feed_types)
        self._call = extension.ffi.new(
            "run_wiring*",
            (wiring.feeds, types, len(wiring.feed_types), wiring.fetches, len(wiring.fetch_types)),
        )
        self._numbers = [NUMPY_DTYPE[one] if _is_number(one) else None for one in wiring.feed_types]
        self._places: list[Any] = []
        """Places of outputs at rest, of as many runs as there were at a time; taking and giving back are atomic."""

    def run(self, session: Any, arrays: Iterable[np.ndarray], options: Any, metadata: Any) -> list[np.ndarray]:
        """Run once; `arrays` come in the order of the feeds."""
        arrays = tuple(arrays)
        packed = self._packed(arrays)
        if packed is not None:
            return self._run(session, options, metadata, (ffi.NULL, *packed))
        given = ffi.new("TF_Tensor*[]", len(arrays))
        try:
            for index, (array, expected) in enumerate(zip(arrays, self.wiring.feed_types, strict=True)):
                given[index] = to_tensor(self._lib, array, expected)
            inputs = (self._extension.ffi.cast("void**", given), ffi.NULL, ())
            return self._run(session, options, metadata, inputs)
        finally:
            for tensor in given:
                if tensor:
                    self._lib.TF_DeleteTensor(tensor)

    def _packed(self, arrays: Sequence[np.ndarray]) -> tuple[bytes, list[int]] | None:
        """Return the bytes of small numbers, and of each array its size, rank and shape; None for others."""
        pieces: list[bytes] = []
        extents: list[int] = []
        for array, dtype in zip(arrays, self._numbers, strict=True):
            size = array.nbytes
            if dtype is None or size > COPIED_BYTES or array.dtype != dtype:
                return None
            pieces.append(array.tobytes())
            extents += (size, array.ndim, *array.shape)
        return b"".join(pieces), extents

    def _run(self, session: Any, options: Any, metadata: Any, inputs: tuple[Any, Any, Any]) -> list[np.ndarray]:
        part, types = self._extension.lib, self.wiring.fetch_types
        status = thread_status(self._lib)
        places = self._taken_places()
        try:
            code = part.session_run(self._call, session, options, metadata, status, *inputs, places)
            if code:
                self._fail(code, status)
            return [self._array(place, dtype) for place, dtype in zip(places, types, strict=True)]
        finally:
            part.release_outputs(places, len(types))
            self._places.append(places)

    def _taken_places(self) -> Any:
        try:
            return self._places.pop()
        except IndexError:
            return self._extension.ffi.new("run_output[]", len(self.wiring.fetch_types))

    def _array(self, place: Any, dtype: DataType) -> np.ndarray:
        size = place.size
        if size <= COPIED_BYTES and dtype is not DataType.STRING:
            shape = self._extension.ffi.unpack(place.dims, place.rank)
            return copied_array(place.data, size, np.empty(shape, NUMPY_DTYPE[dtype]))
        tensor, place.tensor = ffi.cast("TF_Tensor*", place.tensor), ffi.NULL
        return from_tensor(self._lib, tensor, dtype)

    def _fail(self, code: int, status: Any) -> None:
        if code == NO_MEMORY:
            raise ResourceExhausted("No memory for the tensors of a run")
        check(self._lib, status)


def _is_number(dtype: DataType) -> bool:
    return dtype in NUMPY_DTYPE and dtype is not DataType.STRING
