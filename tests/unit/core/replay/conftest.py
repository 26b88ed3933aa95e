"""A replay and its document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import Code
from core.replay.recorded_requests import NotReplayed
from core.replay.replay_document import ReplayedPair, replay_document
from core.replay.replay_tally import ReplayTally
from tests.unit.core.replay.test_replay_tally import add, bad, good

Document = dict[str, Any]


@pytest.fixture
def tally() -> ReplayTally:
    """Requests of every kind."""
    made = ReplayTally()
    for _ in range(95):
        add(made, good([[1.0, 2.0]]), good([[1.0, 2.0]], 0.002))
    add(made, good([[1.0, 2.0]], name="<i>&"), good([[1.0, 2.00001]], name="<i>&"))
    add(made, good([[1.0, 2.0]]), good([[2.0, 1.0]]), old_again=good([[1.0, 2.0001]]))
    add(made, good([[1.0, 2.0]]), good([[1.0, 2.0]], name="z"))
    add(made, good([[1.0, 2.0]]), bad("</script>\x1b[31m"))
    add(made, bad("old", Code.UNAVAILABLE), bad("new"))
    return made


@pytest.fixture
def document(tally: ReplayTally) -> Document:
    """What these are shown as."""
    return make_document(tally)


@pytest.fixture
def make() -> Callable[..., Document]:
    """Make the document of a tally."""
    return make_document


def make_document(tally: ReplayTally, left_out: NotReplayed | None = None, **more: object) -> Document:
    pair = ReplayedPair("m<odel", 7, 8, "localhost:8500", ["/logs/a.tfrecord"], ('input "x" is missing',), **more)  # type: ignore[arg-type]
    return replay_document(pair, tally, left_out or NotReplayed())
