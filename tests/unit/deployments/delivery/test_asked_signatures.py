"""Tests of the signatures of running versions, with a fake in the place of Serve's handles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.errors import Code, Unavailable
from core.grpc import metadata as grpc_metadata
from core.inference.dtypes import DataType
from core.inference.signature import Signature, TensorSpec, served_model
from core.routing.table import Route
from core.routing.transport import Answer, Call, Method
from core.versions.servable import ServableId
from deployments.delivery.asked_signatures import ASKED_AGAIN_AFTER_S, AskedSignatures
from tests.support.clients import wait_until

OLD, NEW = (Route.of(ServableId("m", version)) for version in (7, 8))
RENAMED = ('signature "serving_default": input "x7" (float32 (None,)) is now called "x8"',)


class Versions:
    """Answers for versions whose input has the number of the version in its name."""

    def __init__(self) -> None:
        self.calls: list[Route] = []
        self.failure: Exception | Answer | None = None
        self.now_s = 0.0

    async def call(self, route: Route, call: Call) -> Answer:
        self.calls.append(route)
        assert call.method is Method.GET_MODEL_METADATA
        if isinstance(self.failure, Exception):
            raise self.failure
        if self.failure is not None:
            return self.failure
        name, version = route.servable.name, route.servable.version
        spec = TensorSpec("t:0", DataType.FLOAT, (-1,))
        signatures = {"serving_default": Signature({f"x{version}": spec}, {"y": spec})}
        return Answer(Code.OK, grpc_metadata.respond(served_model(name, version, signatures), call.body))


@pytest.fixture
def versions() -> Versions:
    return Versions()


@pytest.fixture
def asked(versions: Versions) -> Iterator[AskedSignatures]:
    made = AskedSignatures(versions.call, lambda: versions.now_s)
    yield made
    made.close()


def test_the_difference_is_known_after_both_have_answered(asked: AskedSignatures, versions: Versions) -> None:
    """A tick never waits for a version; each is asked once."""
    assert asked.problems(OLD, NEW) is None
    wait_until(lambda: asked.problems(OLD, NEW) is not None, "the signatures", 10.0)

    assert asked.problems(OLD, NEW) == RENAMED
    assert asked.problems(NEW, OLD) != RENAMED
    assert sorted(one.servable.version for one in versions.calls) == [7, 8]


@pytest.mark.parametrize(
    "failure",
    [Unavailable("gone"), TimeoutError(), Answer(Code.UNAVAILABLE, b"gone"), Answer(Code.OK, b"\xff garbage")],
)
def test_a_version_that_did_not_answer_is_asked_again(
    asked: AskedSignatures, versions: Versions, failure: Exception | Answer
) -> None:
    """Not at each tick, and until then nothing is known: no answer is not an equal signature."""
    versions.failure = failure
    asked.problems(OLD, NEW)
    wait_until(lambda: len(versions.calls) == 2, "both calls", 10.0)
    for _ in range(5):
        assert asked.problems(OLD, NEW) is None
    assert len(versions.calls) == 2
    versions.failure = None

    def is_known() -> bool:
        versions.now_s += ASKED_AGAIN_AFTER_S
        return asked.problems(OLD, NEW) is not None

    wait_until(is_known, "the signatures", 10.0)
    assert asked.problems(OLD, NEW) == RENAMED


def test_a_version_that_went_is_asked_anew(asked: AskedSignatures, versions: Versions) -> None:
    """Another model may come under its number."""
    wait_until(lambda: asked.problems(OLD, NEW) is not None, "the signatures", 10.0)
    asked.keep([OLD])

    assert asked.problems(OLD, NEW) is None
    wait_until(lambda: asked.problems(OLD, NEW) is not None, "the signatures", 10.0)
    assert [one.servable.version for one in versions.calls].count(7) == 1
