"""Arrays become tensors and tensors arrays, bit for bit, and every buffer has exactly one owner."""

from __future__ import annotations

import gc

import ml_dtypes
import numpy as np
import pytest

from core.errors import InvalidArgument, ResourceExhausted
from core.inference.dtypes import NUMPY_DTYPE, DataType
from deployments.runtime.library import ffi, library
from deployments.runtime.tensors import COPIED_BYTES, TYPE_OF, from_tensor, to_tensor
from tests.support.loaded_models import lent_count

pytestmark = pytest.mark.usefixtures("runs_by")

ALIGNMENT = 64
LARGE = COPIED_BYTES // 4 + 1


class CountingLibrary:
    """TensorFlow's library, and how many tensors were deleted through it."""

    def __init__(self) -> None:
        self.deleted = 0

    def __getattr__(self, name: str) -> object:
        return getattr(library(), name)

    def TF_DeleteTensor(self, tensor: object) -> None:
        self.deleted += 1
        library().TF_DeleteTensor(tensor)


def round_trip(array: np.ndarray, dtype: DataType | None = None) -> np.ndarray:
    """Make a tensor of an array and an array of the tensor."""
    dtype = dtype or TYPE_OF[array.dtype]
    return from_tensor(library(), to_tensor(library(), array, dtype), dtype)


def aligned(count: int, offset: int = 0) -> np.ndarray:
    """Make float32 values whose address is `offset` beyond a multiple of the alignment."""
    memory = np.zeros(count * 4 + 2 * ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT + offset
    values = memory[start : start + count * 4].view(np.float32)
    values[:] = np.arange(count)
    return values


def numeric_types() -> list[DataType]:
    """List all types but strings."""
    return [dtype for dtype in NUMPY_DTYPE if dtype is not DataType.STRING]


@pytest.mark.parametrize("dtype", numeric_types(), ids=lambda dtype: dtype.label)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3), (COPIED_BYTES,)], ids=str)
def test_every_type_and_shape_survives_both_ways(dtype: DataType, shape: tuple[int, ...]) -> None:
    """Type, shape and every bit stay."""
    array = (np.arange(np.prod(shape, dtype=int)) % 100).astype(NUMPY_DTYPE[dtype]).reshape(shape)

    answer = round_trip(array, dtype)

    assert (answer.dtype, answer.shape) == (array.dtype, array.shape)
    assert answer.tobytes() == array.tobytes()


@pytest.mark.parametrize("count", [2, LARGE], ids=["copied", "large"])
def test_nan_infinity_and_minus_zero_keep_their_bits(count: int) -> None:
    """Nothing is computed on the way."""
    array = np.resize(np.array([np.nan, -np.inf, -0.0, 1e-45], np.float32), count)

    assert round_trip(array).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.int64).reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(20, dtype=np.float32)[::-2],
        np.broadcast_to(np.float32(3), (4, 5)),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(2, 3).T,
        np.arange(4 * LARGE, dtype=np.float32)[::4],
        np.array([[b"a", b"b"], [b"c", b"d"]], object).T,
    ],
    ids=["transposed", "reversed", "broadcast", "fortran", "bfloat16", "large", "strings"],
)
def test_arrays_that_are_not_in_one_piece_keep_their_order(array: np.ndarray) -> None:
    """Strides are the array's own affair."""
    assert round_trip(array).tolist() == array.tolist()


def test_a_read_only_array_can_be_fed() -> None:
    """Arrays over request bytes are read-only."""
    array = np.frombuffer(bytes(range(8)), np.uint8)

    assert round_trip(array).tolist() == list(range(8))


STRINGS = [
    b"",
    b"a\0b\0",
    "grüße 三 🙂".encode(),
    b"\xff\xfe",
    b"x" * 22,
    b"x" * 23,
    b"y" * 1_000_000,
]


@pytest.mark.parametrize("shape", [(7,), (7, 1), (1, 7, 1)], ids=str)
def test_strings_of_all_lengths_and_bytes_survive(shape: tuple[int, ...]) -> None:
    """NUL, wrong UTF-8, short and long: all are bytes."""
    array = np.array(STRINGS, object).reshape(shape)

    answer = round_trip(array)

    assert answer.dtype == object
    assert answer.tolist() == array.tolist()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)], ids=str)
def test_string_scalars_and_empty_string_tensors_survive(shape: tuple[int, ...]) -> None:
    """Having no dimension or no element is not special."""
    array = np.full(shape, b"only", object)

    answer = round_trip(array)

    assert (answer.shape, answer.tolist()) == (shape, array.tolist())


def test_a_large_aligned_array_is_lent_until_tensorflow_drops_it() -> None:
    """No copy is made, and the array lives exactly as long as it is needed."""
    lib, array, before = library(), aligned(LARGE), lent_count()

    tensor = to_tensor(lib, array, DataType.FLOAT)
    address = int(ffi.cast("uintptr_t", lib.TF_TensorData(tensor)))
    lent = lent_count() - before
    lib.TF_DeleteTensor(tensor)

    assert address == array.ctypes.data
    assert (lent, lent_count()) == (1, before)


@pytest.mark.parametrize(("count", "offset"), [(LARGE, 4), (8, 0)], ids=["misaligned", "small"])
def test_a_small_or_misaligned_array_is_copied(count: int, offset: int) -> None:
    """TensorFlow would copy a misaligned one anyway, and a small one is not worth an owner."""
    lib, array, before = library(), aligned(count, offset), lent_count()

    tensor = to_tensor(lib, array, DataType.FLOAT)
    array[:] = -1

    assert lent_count() == before
    assert from_tensor(lib, tensor, DataType.FLOAT).tolist() == list(range(count))


def test_strings_are_given_back_when_the_tensor_goes(runs_by: str) -> None:
    """Memory of strings is ours until TensorFlow drops the tensor; the compiled part needs no account of it."""
    lib, before = library(), lent_count()

    tensor = to_tensor(lib, np.array(STRINGS, object), DataType.STRING)
    lent = lent_count() - before
    lib.TF_DeleteTensor(tensor)

    assert (lent, lent_count()) == (1 if runs_by == "python" else 0, before)


@pytest.mark.parametrize("count", [4, LARGE], ids=["copied", "viewed"])
def test_a_fetched_tensor_is_deleted_exactly_once(count: int) -> None:
    """A copy deletes it at once, a view with its last array."""
    lib = CountingLibrary()
    answer = from_tensor(lib, to_tensor(lib, np.zeros(count, np.float32), DataType.FLOAT), DataType.FLOAT)
    part = answer[1:3]
    del answer
    gc.collect()
    while_in_use = lib.deleted

    del part

    assert (while_in_use, lib.deleted) == ((1, 1) if count == 4 else (0, 1))


def test_a_large_fetched_array_cannot_be_written() -> None:
    """Its memory may be a constant of the model."""
    answer = round_trip(np.zeros(LARGE, np.float32))

    with pytest.raises(ValueError, match="read-only"):
        answer[0] = 1


def test_quantised_inputs_take_the_type_that_the_graph_wants() -> None:
    """int8 is a plain number unless the graph says otherwise."""
    assert round_trip(np.array([-1, 2], np.int8), DataType.QINT8).tolist() == [-1, 2]
    assert TYPE_OF[np.dtype(np.int8)] is DataType.INT8


@pytest.mark.parametrize("array", [np.array(["text"]), np.array(["2020-01-01"], "M8[D]"), np.array([1], ">i4")])
def test_arrays_that_tensorflow_has_no_type_for_are_refused(array: np.ndarray) -> None:
    """The text names the type."""
    with pytest.raises(InvalidArgument, match="have no counterpart in TensorFlow"):
        to_tensor(library(), array, DataType.FLOAT)


def test_something_else_than_bytes_among_strings_leaves_nothing_behind() -> None:
    """A defect of the caller must not leak what was already copied."""
    before = lent_count()

    with pytest.raises(TypeError):
        to_tensor(library(), np.array([b"x" * 100, 5], object), DataType.STRING)

    assert lent_count() == before


class PoorLibrary(CountingLibrary):
    """TensorFlow without memory."""

    def TF_AllocateTensor(self, *arguments: object) -> object:
        return ffi.NULL


def test_no_memory_for_a_tensor_is_reported() -> None:
    """The request fails, not the process."""
    with pytest.raises(ResourceExhausted, match="12 bytes"):
        to_tensor(PoorLibrary(), np.zeros(3, np.float32), DataType.FLOAT)
