"""When a connection makes progress, and when its time is up."""

from __future__ import annotations

import pytest

from core.rest.connection_limits import ConnectionLimits, ConnectionProgress, Glance, Phase

LIMITS = ConnectionLimits()


@pytest.mark.parametrize(
    ("phase", "limit_s"),
    [(Phase.IDLE, 75.0), (Phase.HEAD, 60.0), (Phase.BODY, 60.0), (Phase.UNREAD, 120.0)],
)
def test_a_phase_without_progress_has_its_time(phase: Phase, limit_s: float) -> None:
    """To the second."""
    progress = ConnectionProgress(Glance(phase), 10.0).seen(Glance(phase), 40.0, LIMITS)

    assert not progress.is_overdue(10.0 + limit_s - 1, LIMITS)
    assert progress.is_overdue(10.0 + limit_s, LIMITS)


def test_waiting_for_an_answer_has_no_limit() -> None:
    """However long a model takes."""
    assert not ConnectionProgress(Glance(Phase.ANSWER), 0.0).is_overdue(1e9, LIMITS)


@pytest.mark.parametrize(
    ("before", "now", "is_progress"),
    [
        pytest.param(Glance(Phase.HEAD), Glance(Phase.BODY), True, id="next phase"),
        pytest.param(Glance(Phase.HEAD, 1), Glance(Phase.HEAD, 2), True, id="next request"),
        pytest.param(Glance(Phase.HEAD, 1, 10), Glance(Phase.HEAD, 1, 90_000), False, id="more of a head"),
        pytest.param(Glance(Phase.IDLE, 1, 10), Glance(Phase.IDLE, 1, 11), False, id="empty lines"),
        pytest.param(Glance(Phase.BODY, 1, 10), Glance(Phase.BODY, 1, 1033), False, id="too little of a body"),
        pytest.param(Glance(Phase.BODY, 1, 10), Glance(Phase.BODY, 1, 1034), True, id="enough of a body"),
        pytest.param(Glance(Phase.UNREAD, 1, 10, 99), Glance(Phase.UNREAD, 1, 20, 99), False, id="only sends on"),
        pytest.param(Glance(Phase.UNREAD, 1, 10, 99), Glance(Phase.UNREAD, 1, 10, 98), True, id="takes a byte"),
    ],
)
def test_progress_is_what_brings_the_end_nearer(before: Glance, now: Glance, is_progress: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A head must come to its end, so its bytes alone do not count; those of a body do."""
    seen = ConnectionProgress(before, 1.0).seen(now, 2.0, LIMITS)

    assert seen.at_s == (2.0 if is_progress else 1.0)


def test_pieces_grow_while_little_is_found_in_them() -> None:
    """And are small again where each byte may cost a call."""
    sizes = [LIMITS.least_piece]
    for found in (1, 4, 2, 1, 2, 3, 1, 2000):
        sizes.append(LIMITS.next_piece(sizes[-1], found))

    assert sizes == [256, 512, 1024, 2048, 4096, 8192, 16384, 16384, 256]
