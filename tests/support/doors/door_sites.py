"""An open port of a router with a fake transport behind it, whatever protocol it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from core.routing.transport import Answer
from core.telemetry.metrics import Metrics
from core.telemetry.request_meter import RequestMeter
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.fakes import FakeTransport


class ScriptedTime:
    """The event loop of a connection, whose clock stands still until a test lets time pass."""

    def __init__(self, connection: Any, loop: LoopThread) -> None:
        self._connection = connection
        self._turns = loop
        self._loop = connection.loop
        self._now_s = self._loop.time()
        connection.loop = self

    def time(self) -> float:
        return self._now_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def passes(self, seconds: float) -> None:
        """Let the connection look at what it has, and once more after this time."""

        async def look_twice() -> None:
            for passed_s in (0.0, seconds):
                self._now_s += passed_s
                self._connection._timer.cancel()
                self._connection._look()

        self._turns.run(look_twice()).result(60)


@dataclass
class DoorSite:
    """The port, and what tests look at behind it."""

    port: int
    transport: FakeTransport
    router: RequestRouter
    door: Any
    metrics: Metrics
    loop: LoopThread

    good: ClassVar[Answer | Exception] = FakeTransport().answer
    """What versions answer when nothing else was said."""

    def forget(self, answer: Answer | Exception | None = None) -> None:
        """Begin anew, with versions that answer so."""
        self.transport.calls.clear()
        self.transport.answer = answer or self.good
        self.metrics = Metrics()
        self.router.meter = RequestMeter(self.metrics, lambda _: True)

    @property
    def counts(self) -> dict:
        """The requests counted, by name and status."""
        snapshot = self.metrics.snapshot()
        return dict(snapshot.counters[":tensorflow:serving:request_count"])

    @property
    def is_idle(self) -> bool:
        return self.router.report().in_flight == {}

    def hold(self) -> Callable[[], None]:
        """Let calls wait until the function that this gives is called."""

        async def prepare() -> None:
            self.transport.hold()

        async def release() -> None:
            self.transport.gate.set()

        self.loop.run(prepare()).result(60)
        return lambda: self.loop.run(release()).result(60)
