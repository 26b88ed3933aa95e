"""The host's side of its connection to one child: what the child is, questions to it, and that it has ended."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import Unavailable
from deployments.hosting.messages import (
    Ask,
    ChildState,
    End,
    LoadOrder,
    Question,
    Reply,
    TakenOver,
    read_message,
    write_message,
)

log = logging.getLogger(__name__)


class ChildLink:
    """A connected child; when the connection ends, nobody can connect to it any more, unless another host has."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: ChildState, path: Path
    ) -> None:
        self.state = state
        self.is_taken = False
        """Whether the child belongs to another host now."""
        self._writer = writer
        self._path = path
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear(reader))

    @classmethod
    async def to(cls, path: str) -> ChildLink:
        """Connect to the child of a path; raises OSError, or EOFError from one that is ending."""
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            state: ChildState = await read_message(reader)
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer, state, Path(path))

    async def load(self, order: LoadOrder) -> ChildState:
        """Let the child load; returns what became of it: an endpoint, a failure, or neither when it has ended."""
        write_message(self._writer, order)
        await self._loaded.wait()
        return self.state

    async def ask(self, ask: Ask, argument: Any = None, *, timeout_s: float) -> Any:
        """Return the answer to a question; raises Unavailable, and TimeoutError."""
        if self.has_ended:
            raise Unavailable("The process of the version has ended.")
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        write_message(self._writer, Question(number, ask, argument))
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        finally:
            self._asked.pop(number, None)

    @property
    def has_ended(self) -> bool:
        """Whether the child has closed the connection, most likely by its end."""
        return self._hearing.done()

    async def ended(self, timeout_s: float | None = None) -> bool:
        """Wait until the child has ended, for some time at most; returns whether it has."""
        await asyncio.wait([self._hearing], timeout=timeout_s)
        return self.has_ended

    def end(self) -> None:
        """Ask the child to finish its calls and end."""
        if not self.has_ended:
            write_message(self._writer, End())

    def kill(self) -> None:
        """End the child, and what it has started, at once; while it is connected, its number is its own."""
        if not self.has_ended:
            with suppress(OSError):
                os.killpg(self.state.pid, signal.SIGKILL)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                self._take(await read_message(reader))
        except Exception as error:
            if not isinstance(error, EOFError | OSError):
                log.exception("child_not_understood pid=%d", self.state.pid)
            if not self.is_taken:
                with suppress(OSError):
                    self._path.unlink()
        finally:
            self._loaded.set()
            self._writer.close()
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(Unavailable("The process of the version ended before it answered."))

    def _take(self, message: object) -> None:
        if isinstance(message, ChildState):
            self.state = message
            self._loaded.set()
        elif isinstance(message, TakenOver):
            self.is_taken = True
        elif isinstance(message, Reply):
            answer = self._asked.pop(message.number, None)
            if answer is None or answer.done():
                return
            if message.problem:
                answer.set_exception(Unavailable(message.problem))
            else:
                answer.set_result(message.answer)
