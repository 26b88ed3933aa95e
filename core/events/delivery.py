"""What becomes of a batch of events: which answers of a sink end it, and when it is sent again."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
_LONGEST_NUMBER: Final = 9
_NEVER_AGAIN: Final = frozenset({501, 505})


class Outcome(enum.Enum):
    """What an answer of the sink means for the events."""

    SENT = "sent"
    AGAIN = "again"
    REFUSED = "refused"


def outcome(status: int) -> Outcome:
    """Return the meaning of a status: time-outs, too many requests and errors of the sink pass, all others stay.

    A redirect is a refusal: events, and the secret that goes with them, go to the configured sink alone.
    """
    if 200 <= status < 300:
        return Outcome.SENT
    if status in {408, 429} or (status >= 500 and status not in _NEVER_AGAIN):
        return Outcome.AGAIN
    return Outcome.REFUSED


def pause_s(attempt: int, asked_s: float, drawn: float) -> float:
    """Return how long to wait after the attempt of this number, from 1 on.

    It doubles with each attempt and is cut by up to a half, as `drawn` (0 to 1) says, so that replicas do not come back
    together; a sink that asks for more (`asked_s`) gets it, up to half a minute.
    """
    doubled = FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 10)
    return min(LONGEST_PAUSE_S, max(asked_s, doubled * (1 - drawn / 2)))


def retry_after_s(value: str, now: datetime) -> float:
    """Return the seconds that a `Retry-After` header asks for, 0 for one that says nothing (RFC 9110, 10.2.3)."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_LONGEST_NUMBER])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
