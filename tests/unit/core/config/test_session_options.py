"""Options of TensorFlow's session: from flags and their file, and from a version's GPUs."""

from __future__ import annotations

import pytest

from core.config.server_settings import SessionSettings
from core.config.session_options import session_config, session_config_warnings, with_gpu_share
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


def test_threads_and_gpu_share_come_from_the_settings() -> None:
    """What the session file says about them is replaced, and a warning says so."""
    text = "intra_op_parallelism_threads: 9\ngpu_options { per_process_gpu_memory_fraction: 0.9 allow_growth: true }"
    settings = SessionSettings(2, 3, 0.5, session_config_file="s")
    message = session_file_pb2.ConfigProto.FromString(session_config(settings, text))

    assert (message.intra_op_parallelism_threads, message.inter_op_parallelism_threads) == (2, 3)
    assert (message.gpu_options.per_process_gpu_memory_fraction, message.gpu_options.allow_growth) == (0.5, True)
    assert [(one.line, one.message) for one in session_config_warnings(text)] == [
        (1, "has no effect in this file; use --tensorflow_intra_op_parallelism"),
        (2, "has no effect in this file; use --per_process_gpu_memory_fraction"),
    ]


def test_session_fields_that_are_not_passed_on_give_warnings() -> None:
    """TensorFlow's configuration is large; what is left out is said."""
    text = "experimental { use_tfrt: true }\nallow_soft_placement: true"
    settings = SessionSettings(session_config_file="s")

    assert session_file_pb2.ConfigProto.FromString(session_config(settings, text)).allow_soft_placement
    assert [(one.line, one.field) for one in session_config_warnings(text)] == [(1, "experimental")]


def test_bfloat16_reaches_tensorflows_graph_rewriter() -> None:
    """The flag works without a file."""
    message = session_file_pb2.ConfigProto.FromString(session_config(SessionSettings(bfloat16=True)))

    assert (
        message.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 == session_file_pb2.RewriterConfig.ON
    )


def test_default_settings_serialize_to_almost_nothing() -> None:
    """Without any choice TensorFlow decides everything."""
    assert len(session_config(SessionSettings())) <= 2
