"""How many threads an operation of a version may use."""

from __future__ import annotations

import pytest

from core.config.session_options import with_threads
from core.inference.light_model import LARGEST_LIGHT_BYTES, has_loops, is_light, state_changes
from core.protos import session_file_pb2, tensor_pb2


def graph(*operations: str, in_function: str = "Add") -> bytes:
    """Serialize a SavedModel with these operations, and one in a function of its library."""
    model = tensor_pb2.SavedModelOperations()
    meta = model.meta_graphs.add()
    for op in operations:
        meta.graph_def.node.add(op=op)
    meta.graph_def.library.function.add().node_def.add(op=in_function)
    return model.SerializeToString()


def threads(
    session_config: bytes = b"", num_cpus: float = 0.0, *, light: bool = False, limit: int = 0
) -> tuple[int, int]:
    """Return the threads within and between operations."""
    given = with_threads(session_config, num_cpus, light=light, limit=limit)
    message = session_file_pb2.ConfigProto.FromString(given)
    return message.intra_op_parallelism_threads, message.inter_op_parallelism_threads


def test_a_small_model_of_plain_operations_is_light() -> None:
    """Its runs end before other threads are awake."""
    assert is_light(graph("MatMul", "BiasAdd", "Relu", "ParseExampleV2"), 300_000)


@pytest.mark.parametrize(
    "op", ["Conv2D", "DepthwiseConv2dNative", "While", "StatelessWhile", "Einsum", "BatchMatMulV2"]
)
def test_work_that_weights_do_not_bound_is_not_light(op: str) -> None:
    """In the graph itself or in one of its functions."""
    assert not is_light(graph("MatMul", op), 1000)
    assert not is_light(graph("MatMul", in_function=op), 1000)


def test_operations_that_repeat_others_are_loops() -> None:
    """Of TensorFlow 2, and of control flow that was taken apart."""
    for op in ("While", "StatelessWhile", "_While", "Enter", "MapDefun"):
        assert has_loops(["MatMul", op])
    assert not has_loops(["MatMul", "If", "Einsum", "EnterpriseOp"])


def test_a_model_with_many_weights_is_not_light() -> None:
    """Whether they are variables or constants of the graph."""
    assert not is_light(graph("MatMul"), LARGEST_LIGHT_BYTES)
    assert not is_light(graph("MatMul") + b"\x1a\x80\x80\x40" + bytes(2**20), 0)


def test_what_is_no_graph_is_not_light() -> None:
    """TensorFlow will say what is wrong with it."""
    assert not is_light(b"\xff\xff", 0)


def test_the_operators_threads_count_before_all() -> None:
    """Whatever else is known of the model."""
    chosen = session_file_pb2.ConfigProto(inter_op_parallelism_threads=3).SerializeToString()

    assert threads(chosen, 8, light=True) == (0, 3)


@pytest.mark.parametrize(("num_cpus", "expected"), [(1, 1), (0.5, 1), (2.5, 3), (16, 16)])
def test_reserved_cpus_are_used_and_no_others(num_cpus: float, expected: int) -> None:
    """They are the replica's; the others are somebody else's."""
    assert threads(num_cpus=num_cpus) == (expected, expected)


def test_a_light_model_uses_one_thread_for_an_operation() -> None:
    """Operations that do not depend on each other may still run beside each other."""
    assert threads(light=True) == (1, 0)


def test_tensorflow_decides_for_all_others() -> None:
    """One thread for each core."""
    assert threads() == (0, 0)


def test_a_container_with_a_part_of_the_cpus_has_as_many_threads() -> None:
    """TensorFlow would count those of the machine; what is said of the model, or of all models, counts before."""
    assert threads(limit=2) == (2, 2)
    assert threads(limit=2, light=True) == (1, 0)
    assert threads(limit=2, num_cpus=4.0) == (4, 4)
    set_for_all = session_file_pb2.ConfigProto(inter_op_parallelism_threads=7).SerializeToString()
    assert threads(set_for_all, limit=2) == (0, 7)


@pytest.mark.parametrize(
    ("operations", "changes"),
    [
        (["MatMul", "AssignVariableOp", "RestoreV2", "LookupTableImportV2", "Assign"], ()),
        (["MatMul", "AssignAddVariableOp"], ("AssignAddVariableOp",)),
        (["ResourceApplyAdam", "LookupTableInsertV2"], ("LookupTableInsertV2", "ResourceApplyAdam")),
        (
            ["ResourceScatterUpdate", "QueueEnqueueV2", "StackPushV2"],
            ("QueueEnqueueV2", "ResourceScatterUpdate", "StackPushV2"),
        ),
        (["ScatterNd", "TensorScatterUpdate", "TensorScatterAdd", "GatherNd", "MapDefun", "TensorListPushBack"], ()),
    ],
)
def test_operations_that_change_later_answers_are_known(operations: list[str], changes: tuple[str, ...]) -> None:
    """A graph that counts or learns has them; restoring a version, and functions of tensors, do not."""
    assert state_changes(operations) == changes
