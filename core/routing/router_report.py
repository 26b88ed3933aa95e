"""Reports of routers to the watcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.delivery.arm_counts import ArmCounts
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.output_counts import OutputBins
from core.delivery.split import ArmKey
from core.versions.record import Failure


@dataclass(frozen=True, slots=True)
class RouterReport:
    """The state of one router: its name, the table in use (generation and watcher), calls in flight by application.

    `failing` has the applications in which every run fails, with the error, as their replicas reported it.
    `arms` and `mirrors` have what this router counted since it began, of the divisions in its table; `outputs` what
    replicas counted of their outputs since they began, by application, replica and output. `number` rises with each
    report of a router, because they may arrive in another order; 0 where nobody counts them.
    """

    router: str
    generation: int
    in_flight: Mapping[str, int] = field(default_factory=dict)
    watcher: str = ""
    failing: Mapping[str, Failure] = field(default_factory=dict)
    arms: Mapping[ArmKey, ArmCounts] = field(default_factory=dict)
    mirrors: Mapping[ArmKey, MirrorCounts] = field(default_factory=dict)
    outputs: Mapping[tuple[str, str, str], OutputBins] = field(default_factory=dict)
    number: int = field(default=0, compare=False)

    def uses(self, generation: int, watcher: str) -> bool:
        """Whether this router uses that watcher's table of this generation, or a later one."""
        return self.generation >= generation and self.watcher == watcher

    def keeps_its_table(self, generation: int, watcher: str) -> bool:
        """Whether this router would keep its table if another watcher published this generation."""
        return self.generation > generation or (self.generation == generation and self.watcher != watcher)
