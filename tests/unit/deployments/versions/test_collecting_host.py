"""The collector goes on from what routers keep, and is not asked twice."""

from __future__ import annotations

from typing import Any

from core.errors import Unavailable
from deployments.telemetry.collector import Collector
from deployments.versions.collecting_host import CollectingHost


class AnsweringHost(CollectingHost):
    """A host whose routers answer as given; an error is raised."""

    def __init__(self, collector: Collector, *answers: list[Any] | Unavailable) -> None:
        super().__init__(collector, lambda: None)
        self.answers = list(answers)

    def _ask_routers(self, method: str, *arguments: Any) -> list[Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer


def test_routers_that_do_not_answer_are_asked_again() -> None:
    """Until then the collector would count from zero."""
    collector = Collector()
    host = AnsweringHost(collector, Unavailable("starting"), [None, None])

    host.adopt()
    assert not collector.is_ready
    host.adopt()

    assert (collector.is_ready, host.answers) == (True, [])


def test_the_copies_are_adopted_once() -> None:
    """Afterwards the collector itself knows more than the routers."""
    collector = Collector()
    host = AnsweringHost(collector, [])

    host.adopt()
    host.adopt()

    assert collector.is_ready
