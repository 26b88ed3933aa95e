"""Merging requests into one run and cutting the answer apart again (TensorFlow Serving, batching session)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import FailedPrecondition, InvalidArgument
from core.run_plan import RunPlan

Outputs = list[np.ndarray]


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What requests must have in common to share a run: tensors, their types and the shapes of their rows."""

    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    fetches: tuple[str, ...]


def batch_key(plan: RunPlan) -> BatchKey:
    """Give the key of a request; rows of different shape or type never meet, so none can spoil the other's run."""
    inputs = tuple((name, array.dtype.str, array.shape[1:]) for name, array in sorted(plan.feeds.items()))
    return BatchKey(inputs, plan.fetches)


def rows_of(plan: RunPlan, largest: int) -> int:
    """Count the rows of a request.

    Raises InvalidArgument for a request that cannot be batched or has more than `largest` rows.
    """
    if not plan.feeds:
        raise InvalidArgument("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in plan.feeds.values()):
        raise InvalidArgument("Batching Run() input tensors must have at least one dimension")
    sizes = {array.shape[0] for array in plan.feeds.values()}
    if len(sizes) > 1:
        raise InvalidArgument("Batching Run() input tensors must have equal 0th-dimension size")
    rows: int = sizes.pop()
    if rows > largest:
        raise InvalidArgument(f"Task size {rows} is larger than maximum input batch size {largest}")
    return rows


def padded_size(rows: int, allowed: Sequence[int]) -> int:
    """Give the smallest allowed batch size that holds the rows; without one, the rows themselves."""
    return next((size for size in allowed if size >= rows), rows)


def merge(plans: Sequence[RunPlan], allowed: Sequence[int] = ()) -> Mapping[str, np.ndarray]:
    """Stack the inputs of requests with the same key.

    Up to an allowed size, the first row of the last request is repeated (TensorFlow Serving, allowed_batch_sizes).
    """
    return {name: _stack([plan.feeds[name] for plan in plans], allowed) for name in plans[0].feeds}


def _stack(parts: Sequence[np.ndarray], allowed: Sequence[int]) -> np.ndarray:
    rows = sum(part.shape[0] for part in parts)
    missing = padded_size(rows, allowed) - rows
    if missing and parts[-1].shape[0]:
        parts = [*parts, np.repeat(parts[-1][:1], missing, axis=0)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def split(outputs: Outputs, sizes: Sequence[int], batch_rows: int) -> list[Outputs]:
    """Cut outputs into the rows of each request.

    Raises FailedPrecondition when an output has not one row per input row.
    """
    for output in outputs:
        if output.ndim == 0:
            raise FailedPrecondition("Batched output tensor has 0 dimensions")
        if output.shape[0] != batch_rows:
            raise FailedPrecondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors"
            )
    ends = np.cumsum(sizes)
    return [[output[end - size : end] for output in outputs] for size, end in zip(sizes, ends.tolist(), strict=True)]
