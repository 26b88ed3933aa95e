"""Threads and devices of an ONNX model's session."""

from __future__ import annotations

import pytest

from core.platforms.onnx_session import execution_providers, intra_op_threads


@pytest.mark.parametrize(
    ("reserved", "light", "threads"),
    [(0.0, False, 8), (0.0, True, 1), (2.0, False, 2), (2.0, True, 2), (1.5, False, 2), (0.25, False, 1), (64.0, True, 64)],
)  # fmt: skip
def test_reserved_cpus_count_first(reserved: float, light: bool, threads: int) -> None:  # noqa: FBT001
    """Then one for a light model, else those of the machine."""
    assert intra_op_threads(reserved, 8, light=light) == threads


@pytest.mark.parametrize(
    ("available", "num_gpus", "providers"),
    [
        (["AzureExecutionProvider", "CPUExecutionProvider"], None, ["CPUExecutionProvider"]),
        (["CPUExecutionProvider"], 1.0, ["CPUExecutionProvider"]),
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], None, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], 0.5, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], 0, ["CPUExecutionProvider"]),
    ],
)  # fmt: skip
def test_a_gpu_is_used_where_onnxruntime_offers_it_and_the_model_does_not_refuse_it(
    available, num_gpus, providers
) -> None:
    """No other device is chosen: neither a service in a cloud nor one that compiles for minutes."""
    assert execution_providers(available, num_gpus) == providers
