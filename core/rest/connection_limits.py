"""What one HTTP/1.1 connection may cost: bytes, header fields, work in one turn of the event loop, and time.

Times are limits of progress, which a slow honest client does not meet: a head that comes to its end, a body of which
something arrives, an answer of which something is taken. A client that waits for its answer has no limit here. Sources
of the rules: RFC 9112 9.3 and 9.5 (time-outs), RFC 9110 15.5.9 (408); TensorFlow Serving has no such limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

KIB = 1024
FEW = 4


class Phase(Enum):
    """What a connection waits for."""

    IDLE = "idle"
    """For the first byte of a request."""
    HEAD = "head"
    """For the rest of a head."""
    BODY = "body"
    """For more of a body."""
    ANSWER = "answer"
    """For this server: an answer, or room for what was sent."""
    UNREAD = "unread"
    """For the client to take what was written."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The budget of one connection; sizes in bytes, times in seconds.

    Reads go to the parser in pieces, up to the end of a head at most, so that no second request is parsed before the
    first has its answer. Reading stops while more than `held` bytes wait for the parser. A turn of the event loop ends
    after `turn_pieces` pieces of a body, or `turn_heads` of a head. Where most pieces were no longer than `tiny_piece`,
    the connection's next turn comes after `rest_s`, so that such bodies take less than a tenth of the time. A body must
    bring `least_body` bytes in each `body_s`.
    """

    head: int = 1024 * KIB
    head_fields: int = 1000
    least_piece: int = 256
    largest_piece: int = 16 * KIB
    held: int = 16 * KIB
    turn_pieces: int = 64
    turn_heads: int = 2
    tiny_piece: int = 16
    rest_s: float = 0.002
    least_body: int = KIB
    idle_s: float = 75.0
    head_s: float = 60.0
    body_s: float = 60.0
    unread_s: float = 120.0
    look_s: float = 5.0
    """How often a connection is looked at; a limit of time is exceeded by this much at most."""

    def next_piece(self, size: int, found: int) -> int:
        """Return the size of the next piece for the parser, which found so much in the last one.

        Pieces grow while little is found in them: large chunks, a long value. They are small again where they are full
        of tiny chunks or fields, each of which takes time.
        """
        return min(2 * size, self.largest_piece) if found <= FEW else self.least_piece

    def seconds(self, phase: Phase) -> float | None:
        """Return how long a connection may stay in a phase without progress; None without limit."""
        return {
            Phase.IDLE: self.idle_s,
            Phase.HEAD: self.head_s,
            Phase.BODY: self.body_s,
            Phase.UNREAD: self.unread_s,
        }.get(phase)


@dataclass(frozen=True, slots=True)
class Glance:
    """A connection as it is now: counts of its answers and bytes so far, and the bytes that its client left unread."""

    phase: Phase
    answers: int = 0
    received: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionProgress:
    """The last glance at which a connection had made progress, and its time."""

    glance: Glance
    at_s: float

    def seen(self, now: Glance, now_s: float, limits: ConnectionLimits) -> ConnectionProgress:
        """Return the progress after another glance."""
        return ConnectionProgress(now, now_s) if self._has_moved(now, limits) else self

    def _has_moved(self, now: Glance, limits: ConnectionLimits) -> bool:
        before = self.glance
        if (now.phase, now.answers) != (before.phase, before.answers):
            return True
        if now.phase is Phase.BODY:
            return now.received - before.received >= limits.least_body
        return now.phase is Phase.UNREAD and now.unread != before.unread

    def is_overdue(self, now_s: float, limits: ConnectionLimits) -> bool:
        """Whether the time for the next progress is up."""
        limit_s = limits.seconds(self.glance.phase)
        return limit_s is not None and now_s - self.at_s >= limit_s
