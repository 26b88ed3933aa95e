"""What one connection may cost: the work of a turn, frames that no call needs, and the bytes that are kept for it.

Work is bounded by turns: a connection hands the event loop back when its turn is used, and goes on when others have had
theirs. Frames, resets and heads are bounded by token buckets (`Allowance`): a peer may send a burst of them, then as
many as its calls and the time that passed have earned it. Whoever sends more than that is disconnected with
ENHANCE_YOUR_CALM (RFC 9113, 10.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.http2.frames import BrokenConnection, Fault

MIB = 2**20
CLOSELY_COUNTED_FIELDS = 64
"""More fields than a head of an honest call has are counted; those of other heads cost less than the call itself."""
CLOSELY_COUNTED_BLOCK_BYTES = 1024
"""The same for the bytes of a header block: one that is Huffman-coded takes about a microsecond for each."""
WORK_OF_A_FIELD = 4
"""What decoding a field costs, in bytes of a header block."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: its size, and what flows in for a second, an answer, a refusal, and a sent byte of DATA."""

    burst: int
    per_s: float
    per_answer: float = 0.0
    per_refusal: float = 0.0
    per_byte: float = 0.0


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """What one connection may cost.

    `turn`: units of work, each about a microsecond, before other connections have their turns; `work_of_a_call`,
    `work_of_a_reset`: what opening a call counts, and what withdrawing it. `control`: frames that carry nothing of a
    call. `resets`: calls that end before their answer, and those that had to be refused for a mistake. `head_work`:
    bytes of large header blocks, and their fields. `unfinished_bytes`: what is kept of requests of which a part is
    missing, before windows become narrow, and what wide windows may allow then. `work_bytes`: large requests that are
    complete and not answered. `unread_bytes`: answers that wait for the peer's windows.
    """

    streams: int = 1000
    turn: int = 2000
    work_of_a_call: int = 20
    work_of_a_reset: int = 40
    control: Rate = Rate(10_000, 200.0, per_answer=10.0, per_refusal=2.0, per_byte=1 / 256)
    resets: Rate = Rate(2000, 1000.0, per_answer=1.0)
    head_work: Rate = Rate(80_000, 20_000.0, per_answer=8192.0, per_refusal=256.0)
    unfinished_bytes: int = 24 * MIB
    work_bytes: int = 1024 * MIB
    unread_bytes: int = 64 * MIB
    calls_in_work: int = 16
    """So many complete requests begin whatever size is expected of their answers."""
    assumed_answer_bytes: int = 640 * 1024
    """The expected size of an answer before the first one."""


DEFAULT_LIMITS = Http2Limits()


class Merits:
    """What a connection was good for: calls answered with a message, or only a status, and bytes of DATA sent."""

    __slots__ = ("answers", "refusals", "sent_bytes")

    def __init__(self) -> None:
        self.answers = 0
        self.refusals = 0
        self.sent_bytes = 0


class Allowance:
    """A token bucket that is filled when it turns out to be empty, so that counting costs one subtraction."""

    __slots__ = ("_clock", "_counted", "_filled_s", "_left", "_merits", "_rate")

    def __init__(self, rate: Rate, merits: Merits, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._merits = merits
        self._clock = clock
        self._left: float = rate.burst
        self._filled_s = clock()
        self._counted = 0.0

    def spend(self, amount: int) -> bool:
        """Take an amount out; whether it was there."""
        self._left -= amount
        return self._left >= 0 or self._fill(amount)

    def _fill(self, amount: int) -> bool:
        rate, merits, now_s = self._rate, self._merits, self._clock()
        worth = merits.answers * rate.per_answer + merits.refusals * rate.per_refusal
        worth += merits.sent_bytes * rate.per_byte
        earned = (now_s - self._filled_s) * rate.per_s + worth - self._counted
        self._left = min(self._left + amount + earned, rate.burst) - amount
        self._filled_s, self._counted = now_s, worth
        return self._left >= 0


class Budget:
    """Counts what one connection costs; raises BrokenConnection where that is too much."""

    def __init__(self, limits: Http2Limits, merits: Merits, clock: Callable[[], float]) -> None:
        self._control = Allowance(limits.control, merits, clock)
        self._resets = Allowance(limits.resets, merits, clock)
        self._head_work = Allowance(limits.head_work, merits, clock)

    def count_control(self) -> None:
        """Count a frame that carries nothing of a call."""
        if not self._control.spend(1):
            raise BrokenConnection(Fault.ENHANCE_YOUR_CALM, "more control frames than the calls need")

    def count_reset(self) -> None:
        """Count a call that ended before its answer, or was refused for a mistake."""
        if not self._resets.spend(1):
            raise BrokenConnection(Fault.ENHANCE_YOUR_CALM, "too many calls are opened and reset, or refused")

    def count_head(self, work: int) -> None:
        """Count a large header block, in bytes, or its fields."""
        if not self._head_work.spend(work):
            raise BrokenConnection(Fault.ENHANCE_YOUR_CALM, "too many large headers")
