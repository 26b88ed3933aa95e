"""A way of calling a graph, run by Python alone: each function of TensorFlow's is a call of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.inference.dtypes import DataType
from deployments.runtime.library import check, ffi, thread_status
from deployments.runtime.tensors import from_tensor, to_tensor


@dataclass(frozen=True, slots=True)
class Wiring:
    """The graph's side of a call: where its feeds enter, where its fetches leave, and of which type each is."""

    feeds: Any
    feed_types: tuple[DataType, ...]
    fetches: Any
    fetch_types: tuple[DataType, ...]


class PythonRun:
    """Runs of one session with the same feeds and fetches; they may overlap."""

    __slots__ = ("_lib", "wiring")

    def __init__(self, lib: Any, wiring: Wiring) -> None:
        self._lib = lib
        self.wiring = wiring

    def run(self, session: Any, arrays: Collection[np.ndarray], options: Any, metadata: Any) -> list[np.ndarray]:
        """Run once; `arrays` come in the order of the feeds."""
        lib, wiring = self._lib, self.wiring
        fed, fetched = len(wiring.feed_types), len(wiring.fetch_types)
        tensors = ffi.new("TF_Tensor*[]", fed + fetched)
        try:
            for index, (array, expected) in enumerate(zip(arrays, wiring.feed_types, strict=True)):
                tensors[index] = to_tensor(lib, array, expected)
            self._execute(session, tensors, options, metadata)
            return [_take(lib, tensors, fed + index, dtype) for index, dtype in enumerate(wiring.fetch_types)]
        finally:
            for tensor in tensors:
                if tensor:
                    lib.TF_DeleteTensor(tensor)

    def _execute(self, session: Any, tensors: Any, options: Any, metadata: Any) -> None:
        wiring, status = self.wiring, thread_status(self._lib)
        fed, fetched = len(wiring.feed_types), len(wiring.fetch_types)
        self._lib.TF_SessionRun(
            session,
            options,
            wiring.feeds,
            tensors,
            fed,
            wiring.fetches,
            tensors + fed,
            fetched,
            ffi.NULL,
            0,
            metadata,
            status,
        )
        check(self._lib, status)


def _take(lib: Any, tensors: Any, index: int, dtype: DataType) -> np.ndarray:
    tensor, tensors[index] = tensors[index], ffi.NULL
    return from_tensor(lib, tensor, dtype)
