"""Daemon threads for calls that may block: unlike the standard library's pools, they never delay the process's end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class DaemonThreads:
    """At most `limit` threads, started on demand; further calls wait."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._threads = 0

    def submit(self, call: Callable[[], Result]) -> Future[Result]:
        """Run the call in a thread."""
        future: Future[Result] = Future()
        with self._lock:
            self._unfinished += 1
            begin = self._threads < min(self._limit, self._unfinished)
            self._threads += begin
        self._calls.put((future, call))
        if begin:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def close(self) -> None:
        """End every thread after the submitted calls; no call may be submitted afterwards."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _work(self) -> None:
        while (next_call := self._calls.get()) is not None:
            future, call = next_call
            if future.set_running_or_notify_cancel():
                _fulfil(future, call)
            with self._lock:
                self._unfinished -= 1


def _fulfil(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it is set on the future
        future.set_exception(error)
    else:
        future.set_result(result)
