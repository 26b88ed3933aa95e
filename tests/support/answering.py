"""Lets an execution answer calls on an event loop of its own, as a model server does while it loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.routing.transport import Answer, Call
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.execution import Execution
from deployments.system.event_loop import LoopThread


@contextmanager
def answering(execution: Execution | BatchedExecution) -> Iterator[Callable[[Call], Answer]]:
    """Yield what answers a call; the execution is closed at the end."""
    thread = LoopThread("test")
    try:
        yield lambda call: thread.run(execution.call(call)).result()
    finally:
        execution.close()
        thread.stop()
        thread.join(60)
