"""One batch in its worker thread: what is merged, run, split and counted, and what a failure becomes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from core.config.model_config import BatchingParameters
from core.errors import Code, DeadlineExceeded, InvalidArgument
from core.inference.batch_plan import Outputs, kind
from core.inference.batch_queue import Batch, Piece
from core.inference.run_plan import RunPlan
from deployments.inference.batch_run import BatchedRequest, BatchRun, Pieces, code_of, feeds_of, light
from tests.unit.deployments.inference.test_batcher import POISON, FakeRun, plan

PARAMETERS = BatchingParameters(8, allowed_batch_sizes=(4, 8))


def piece(one: RunPlan, ends_at: float = math.inf, start: int = 0, rows: int | None = None) -> Piece[BatchedRequest]:
    """Make a request of one piece, as if its batch had its slot."""
    request = BatchedRequest(one, ends_at, asyncio.get_running_loop().create_future())
    size = len(next(iter(one.feeds.values())))
    made = Piece(request, start, size if rows is None else rows, 0.0, Batch(kind(one), 0.0))
    request.pieces.append(made)
    return made


def values(results: list) -> list:
    """Show arrays as lists and errors as texts."""
    return [str(one) if isinstance(one, Exception) else one[0].tolist() for one in results]


@pytest.fixture
def run() -> FakeRun:
    """A model that doubles."""
    return FakeRun()


async def test_each_request_gets_its_own_rows(run) -> None:
    """The batch was filled up to an allowed size."""
    pieces: Pieces = [piece(plan(1.0, 2.0)), piece(plan(3.0))]

    results = BatchRun(run, PARAMETERS).results(pieces)

    assert values(results) == [[2.0, 4.0], [6.0]]
    assert run.fed == [[1.0, 2.0, 3.0, 3.0]]


async def test_requests_that_order_their_outputs_differently_share_a_run() -> None:
    """A client's `output_filter` may name the same outputs in any order (TensorFlow Serving, batching session)."""
    runs: list[tuple[str, ...]] = []

    def named(feeds: Mapping[str, np.ndarray], fetches: Sequence[str], *, timeout_ms: int | None = None) -> Outputs:
        del timeout_ms
        runs.append(tuple(fetches))
        (x,) = feeds.values()
        return [x * {"y": 10, "z": 100}[name] for name in fetches]

    pieces: Pieces = [piece(plan(1.0, fetches=order)) for order in (("z", "y"), ("y", "z"))]

    results = BatchRun(named, PARAMETERS).results(pieces)

    assert [[one.tolist() for one in result] for result in results] == [[[100.0], [10.0]], [[10.0], [100.0]]]
    assert len(runs) == 1


async def test_a_batch_that_fails_is_run_again_in_halves(run) -> None:
    """Until the bad request is alone."""
    pieces: Pieces = [piece(plan(value)) for value in (1.0, 2.0, POISON, 4.0)]

    results = BatchRun(run, BatchingParameters(8)).results(pieces)

    assert values(results) == [[2.0], [4.0], "poisoned", [8.0]]
    assert run.sizes == [4, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("ends_at", "timeouts"),
    [([math.inf, 5.0], [None]), ([5.0, 7.5], [7500]), ([0.0001], [1])],
    ids=["one waits for ever", "the later one", "hardly any"],
)
async def test_a_run_has_the_time_of_the_caller_that_waits_longest(run, ends_at, timeouts) -> None:
    """At least a millisecond, as zero would mean none at all to TensorFlow."""
    pieces: Pieces = [piece(plan(1.0), end) for end in ends_at]

    BatchRun(run, BatchingParameters(8), clock=lambda: 0.0).results(pieces)

    assert run.timeouts == timeouts


async def test_a_batch_whose_callers_have_gone_is_not_run(run) -> None:
    """Nor tried in halves."""
    results = BatchRun(run, PARAMETERS, clock=lambda: 10.0).results([piece(plan(1.0), 5.0), piece(plan(2.0), 6.0)])

    assert [code_of(one) for one in results] == [Code.DEADLINE_EXCEEDED] * 2
    assert run.fed == []


async def test_the_pieces_of_a_request_are_joined_in_the_order_of_their_rows() -> None:
    """Whichever is answered first."""
    first = piece(plan(1.0, 2.0, 3.0), rows=2)
    request = first.request
    second = Piece(request, 2, 1, 0.0, first.batch)
    request.pieces.append(second)
    assert [feeds_of(one)["x"].tolist() for one in (first, second)] == [[1.0, 2.0], [3.0]]

    request.settle(second, [np.array([6.0])])
    assert not request.answer.done()
    request.settle(first, [np.array([2.0, 4.0])])

    assert request.answer.result()[0].tolist() == [2.0, 4.0, 6.0]


async def test_the_first_error_of_a_piece_is_the_answer() -> None:
    """Later results change nothing."""
    only = piece(plan(1.0))

    only.request.settle(only, InvalidArgument("first"))
    only.request.settle(only, InvalidArgument("second"))

    with pytest.raises(InvalidArgument, match="first"):
        only.request.answer.result()


def test_an_error_that_is_an_answer_holds_no_tensors() -> None:
    """A traceback would keep those of its whole batch; that of a defect is logged."""
    errors = []
    for kind_of_error in (DeadlineExceeded, KeyError):
        try:
            raise kind_of_error("x")
        except (DeadlineExceeded, KeyError) as error:
            errors.append(light(error))

    assert [error.__traceback__ is None for error in errors] == [True, False]
