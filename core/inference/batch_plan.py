"""Merging requests into one run and cutting the answer apart again (TensorFlow Serving, batching session)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from core.errors import FailedPrecondition, Internal, InvalidArgument
from core.inference.run_plan import RunPlan

Outputs = list[np.ndarray]
Shape = tuple[int, ...]

MOST_PADDED_RANK = 6


class QueueKey(NamedTuple):  # a named tuple: every request hashes it, and tuples do that in C
    """Which requests wait in one queue and share its bound: those with the same tensors, whatever their order."""

    inputs: tuple[str, ...]
    fetches: tuple[str, ...]


class BatchKind(NamedTuple):
    """Which requests of a queue can share a run: those with equal types and rows of equal shape, in any order.

    With padding, rows need only be of equal rank.
    """

    inputs: tuple[tuple[np.dtype, Shape], ...]
    fetches: tuple[str, ...]
    is_padded: bool = False


def queue_key(plan: RunPlan) -> QueueKey:
    """Name the queue of a request."""
    return QueueKey(tuple(sorted(plan.feeds)), tuple(sorted(plan.fetches)))


def kind(plan: RunPlan, *, padded: bool = False) -> BatchKind:
    """Return the key of requests that may share a run; rows that cannot be merged have different keys."""
    feeds, fetches = plan.feeds, tuple(sorted(plan.fetches))
    if padded:
        return BatchKind(
            tuple((feeds[name].dtype, (feeds[name].ndim,)) for name in sorted(feeds)), fetches, is_padded=True
        )
    return BatchKind(tuple((feeds[name].dtype, feeds[name].shape[1:]) for name in sorted(feeds)), fetches)


def rows_of(plan: RunPlan) -> int:
    """Count the rows of a request; raises InvalidArgument for one that cannot be batched."""
    arrays = plan.feeds.values()
    if not arrays:
        raise InvalidArgument("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in arrays):
        raise InvalidArgument("Batching Run() input tensors must have at least one dimension")
    rows, *others = {array.shape[0] for array in arrays}
    if others:
        raise InvalidArgument("Batching Run() input tensors must have equal 0th-dimension size")
    return int(rows)


def rows_between(feeds: Mapping[str, np.ndarray], start: int, end: int) -> Mapping[str, np.ndarray]:
    """Return a part of a request's inputs, without copying it."""
    return {name: array[start:end] for name, array in feeds.items()}


def padded_size(rows: int, allowed: Sequence[int]) -> int:
    """Return the smallest allowed batch size that holds the rows; without one, the rows themselves."""
    return next((size for size in allowed if size >= rows), rows)


def merge(
    requests: Sequence[Mapping[str, np.ndarray]], allowed: Sequence[int] = (), *, padded: bool = False
) -> Mapping[str, np.ndarray]:
    """Stack the inputs of requests.

    Up to an allowed size, the first row of the last request is repeated. Rows of different shape are an error, or with
    `padded` grow at their ends, by the first element of their own request (TensorFlow Serving, batching session).
    """
    return {name: _stack(name, [feeds[name] for feeds in requests], allowed, padded=padded) for name in requests[0]}


def _stack(name: str, parts: Sequence[np.ndarray], allowed: Sequence[int], *, padded: bool) -> np.ndarray:
    filled = [part for part in parts if part.shape[0]]
    rows = sum(part.shape[0] for part in filled)
    size = padded_size(rows, allowed) if filled else 0
    if len({part.shape[1:] for part in parts}) > 1:
        if not padded:
            raise FailedPrecondition(_DIFFERENT_SHAPES.format(name))
        return _stack_padded(filled or parts[:1], size)
    if len(filled) <= 1 and size == rows:
        return filled[0] if filled else parts[0]
    if size > rows:
        filled.append(np.broadcast_to(filled[-1][:1], (size - rows, *filled[-1].shape[1:])))
    return np.concatenate(filled)


_DIFFERENT_SHAPES = (
    "Tensors with name '{}' from different tasks have different shapes and padding is turned off. Set "
    "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions starting "
    "with the first dim."
)


def _stack_padded(parts: Sequence[np.ndarray], size: int) -> np.ndarray:
    if parts[0].ndim > MOST_PADDED_RANK:
        raise InvalidArgument("Only tensors with rank from 1 to 6 can be padded.")
    widest = tuple(map(max, zip(*(part.shape[1:] for part in parts), strict=True)))
    stacked = np.empty((size, *widest), parts[0].dtype)
    start = end = 0
    for part in parts:
        start, end = end, end + part.shape[0]
        if part.shape[1:] != widest:
            if not part.size:
                raise InvalidArgument("Got empty tensor in batch of non-empty tensors.")
            stacked[start:end] = part.flat[:1]
        stacked[(slice(start, end), *map(slice, part.shape[1:]))] = part
    stacked[end:] = stacked[start : start + 1]
    return stacked


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
    ends = itertools.accumulate(sizes)
    return [[output[end - size : end] for output in outputs] for size, end in zip(sizes, ends, strict=True)]


def in_order(outputs: Outputs, fetched: Sequence[str], wanted: Sequence[str]) -> Outputs:
    """Return outputs in the order that one request of a batch asks for; `fetched` is the order of the run."""
    if fetched == wanted:
        return outputs
    places = {name: place for place, name in enumerate(fetched)}
    return [outputs[places[name]] for name in wanted]


def join(pieces: Sequence[Outputs]) -> Outputs:
    """Put the answers to the parts of one request together again; raises Internal when they do not fit."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    except ValueError as error:
        raise Internal(f"Tensor concat operation failed: {error}") from error
