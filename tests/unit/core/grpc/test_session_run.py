"""Tests of SessionRun."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import FailedPrecondition, InvalidArgument, ServingError, Unimplemented
from core.grpc import session_run as grpc_session_run
from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2
from tests.support.served_models import answer, half_plus_two, model_spec

X = np.array([[1.0]], np.float32)


def request(feeds=(), fetches=(), *, alias: bool = False, signature: str = "", **fields) -> bytes:
    sent = serving_pb2.SessionRunRequest(
        model_spec=model_spec(signature_name=signature), fetch=fetches, tensor_name_is_alias=alias, **fields
    )
    for name in feeds:
        sent.feed.add(name=name, tensor=to_proto(X))
    return sent.SerializeToString()


def test_any_tensor_can_be_fed_and_fetched() -> None:
    """Names are the graph's own; the answer keeps the order of the request, repetitions included."""
    plan = grpc_session_run.plan_session_run(half_plus_two(), request(["hidden:0"], ["b:0", "a:0", "b:0"]))

    response = serving_pb2.SessionRunResponse.FromString(answer(plan, {"a:0": X + 1, "b:0": X + 2}))

    assert list(plan.feeds) == ["hidden:0"]
    assert plan.fetches == ("b:0", "a:0")
    assert [(one.name, to_array(one.tensor).item()) for one in response.tensor] == [
        ("b:0", 3.0),
        ("a:0", 2.0),
        ("b:0", 3.0),
    ]
    assert (response.model_spec.name, response.model_spec.version.value) == ("h2", 123)


def test_aliases_are_those_of_the_default_signature() -> None:
    """The answer uses the names of the request."""
    plan = grpc_session_run.plan_session_run(half_plus_two(), request(["x"], ["y"], alias=True))

    response = serving_pb2.SessionRunResponse.FromString(answer(plan, {"y:0": X}))

    assert (list(plan.feeds), plan.fetches) == (["x:0"], ("y:0",))
    assert [one.name for one in response.tensor] == ["y"]


def test_aliases_may_be_those_of_a_named_signature() -> None:
    """The model spec names it."""
    plan = grpc_session_run.plan_session_run(
        half_plus_two(), request(["inputs"], ["outputs"], alias=True, signature="regress_x2_to_y3")
    )

    assert (list(plan.feeds), plan.fetches) == (["x2:0"], ("y3:0",))


@pytest.mark.parametrize(
    ("raw", "error", "text"),
    [
        (b"", InvalidArgument, "Missing ModelSpec"),
        (request(target=["init"]), Unimplemented, "SessionRun does not run target nodes; fetch a tensor instead."),
        (request(["a", "a"]), InvalidArgument, "tensor fed more than once: a"),
        (request(["z"], alias=True), InvalidArgument, "tensor alias not found in signature: z"),
        (request([], ["x"], alias=True), InvalidArgument, "tensor alias not found in signature: x"),
        (request(alias=True, signature="s"), FailedPrecondition, 'Serving signature key "s" not found.'),
        (request(feed=[{"name": "a"}]), InvalidArgument, "tensor parsing error: a"),
    ],
    ids=["no spec", "target", "fed twice", "unknown feed", "unknown fetch", "unknown signature", "broken tensor"],
)
def test_a_request_that_cannot_run_is_refused(raw, error, text) -> None:
    """Each mistake has its text."""
    with pytest.raises(error) as raised:
        grpc_session_run.plan_session_run(half_plus_two(), raw)

    assert str(raised.value) == text


def test_missing_arrays_are_an_internal_error() -> None:
    """The runtime broke its promise."""
    with pytest.raises(ServingError, match="SessionRun internal error"):
        grpc_session_run.plan_session_run(half_plus_two(), request([], ["a"])).encode([])


VALID = request(["x"], ["y"], alias=True)


@given(st.one_of(st.binary(max_size=60), st.integers(0, len(VALID)).map(lambda cut: VALID[:cut])))
def test_any_bytes_are_planned_or_refused(raw) -> None:
    """Random and cut requests never escape as another exception."""
    with contextlib.suppress(ServingError):
        grpc_session_run.plan_session_run(half_plus_two(), raw)
