"""How often and after which pauses a request to a store is repeated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off: the number of attempts, and the pauses between them, which double."""

    attempts: int = 7
    first_pause_s: float = 0.5
    longest_pause_s: float = 20.0

    def pause_s(self, failures: int, chance: float) -> float | None:
        """Return the pause after so many failures; None to give up.

        `chance` from 0 to 1 is jitter: it makes the pause up to a half shorter, so that clients do not retry together.
        """
        if failures >= self.attempts:
            return None
        pause_s = min(self.longest_pause_s, self.first_pause_s * 2.0 ** (failures - 1))
        return pause_s * (1 - chance / 2)
