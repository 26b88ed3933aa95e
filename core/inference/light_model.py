"""Light models: those whose runs are too short to gain from more than one thread.

TensorFlow splits operations over all cores, also those of a few microseconds. For a small model that costs more than
the operations themselves: waking other threads takes half of the time of a run of a small MLP on two busy cores, and
processor time that other requests need. Light models are recognised by their size and their operations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError

from core.protos import tensor_pb2

LARGEST_LIGHT_BYTES: Final = 1024 * 1024
"""Graph and weights of a light model: at most a quarter of a million weights, each used once for a row."""

HEAVY: Final = re.compile(
    r"Conv|BatchMatMul|Einsum|FFT|RNN|LSTM|GRU|While|^Enter$|^For$|MapDefun|Matrix|Cholesky|^Svd|^Qr|Eig|Resize|Decode"
    r"|Xla|Cudnn|Tpu|PartitionedCallRemote|^Sort|TopK|Pool|Dataset"
)
"""Operations whose work is not bounded by the number of weights."""


LOOPS: Final = re.compile(r"While|^Enter$|^For$|MapDefun|^Scan$")
"""Operations that repeat others as often as values say."""


CHANGES: Final = re.compile(
    r"^Assign(Add|Sub)|^(Resource)?Scatter(Add|Sub|Mul|Div|Min|Max|Update|NdAdd|NdSub|NdUpdate)|^(Resource)?(Sparse)?Apply"
    r"|LookupTableInsert|LookupTableRemove|^Stack(Push|Pop)|^Queue(Enqueue|Dequeue)"
)
"""Operations by which runs change what later runs answer; those that restore a version are not among them."""


def state_changes(operations: Iterable[str]) -> tuple[str, ...]:
    """Return the operations by which runs may change what later runs answer, if a signature has them."""
    return tuple(sorted(filter(CHANGES.search, operations)))


def has_loops(operations: Iterable[str]) -> bool:
    """Whether how long a run takes depends on the values that are fed, however small they are."""
    return any(map(LOOPS.search, operations))


def is_light(saved_model: bytes, weights_bytes: int) -> bool:
    """Whether a run for a few rows is too short to be worth more than one thread."""
    if len(saved_model) + weights_bytes > LARGEST_LIGHT_BYTES:
        return False
    try:
        found = tensor_pb2.SavedModelOperations.FromString(saved_model)
    except DecodeError:
        return False
    return not any(HEAVY.search(op) for op in operations_in(found))


def operations_in(model: tensor_pb2.SavedModelOperations) -> Iterable[str]:
    """Yield the operation of each node of all graphs and their functions."""
    for meta in model.meta_graphs:
        yield from (node.op for node in meta.graph_def.node)
        for function in meta.graph_def.library.function:
            yield from (node.op for node in function.node_def)
