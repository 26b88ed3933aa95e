"""What `num_gpus` of a model means for the memory of GPUs."""

from __future__ import annotations

import pytest

from core.config.server_settings import SessionSettings
from core.config.session_options import session_config, with_gpu_share
from core.protos import session_file_pb2


def shared(num_gpus: float | None, fraction: float = 0.0) -> session_file_pb2.ConfigProto:
    plain = session_config(SessionSettings(inter_op_threads=3, gpu_memory_fraction=fraction))
    return session_file_pb2.ConfigProto.FromString(with_gpu_share(plain, num_gpus))


@pytest.mark.parametrize("num_gpus", [None, 0, 0.25, 1, 4])
def test_everything_else_is_kept(num_gpus) -> None:
    """Thread counts for example."""
    assert shared(num_gpus).inter_op_parallelism_threads == 3


def test_nothing_said_leaves_room_for_others() -> None:
    """As TensorFlow Serving, it uses the GPUs that are there; unlike there, other processes do so too."""
    found = shared(None)

    assert found.gpu_options.allow_growth
    assert found.gpu_options.per_process_gpu_memory_fraction == 0
    assert dict(found.device_count) == {}


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_zero_means_no_gpu_at_all(fraction) -> None:
    """Ray leaves all of them visible to such a process."""
    assert dict(shared(0, fraction).device_count) == {"GPU": 0}


def test_a_share_of_a_gpu_is_that_share_of_its_memory() -> None:
    """So four replicas with a quarter each fit."""
    found = shared(0.25)

    assert found.gpu_options.per_process_gpu_memory_fraction == 0.25
    assert not found.gpu_options.allow_growth


@pytest.mark.parametrize("num_gpus", [1, 2.0])
def test_whole_gpus_are_used_as_tensorflow_likes(num_gpus) -> None:
    """Nobody else is on them."""
    assert shared(num_gpus) == session_file_pb2.ConfigProto.FromString(
        session_config(SessionSettings(inter_op_threads=3))
    )


@pytest.mark.parametrize("num_gpus", [None, 0.25, 1])
def test_a_share_that_the_operator_set_is_kept(num_gpus) -> None:
    """`--per_process_gpu_memory_fraction` counts for each replica."""
    found = shared(num_gpus, fraction=0.5)

    assert found.gpu_options.per_process_gpu_memory_fraction == 0.5
    assert not found.gpu_options.allow_growth
