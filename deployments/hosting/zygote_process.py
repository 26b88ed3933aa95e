"""The host's side of the process that forks: starts it, again when it has ended, and hears how children end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from core.errors import Unavailable
from deployments.hosting.messages import Ended, Forked, ForkOrder, read_message, write_message

log = logging.getLogger(__name__)

ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Numpy's library would start its threads when it is imported; Ray gives replicas one, too."""

NO_GPU: Final = {"CUDA_VISIBLE_DEVICES": "-1"}
"""Each child would take memory of the GPU; versions for one have a deployment of their own."""

ATTEMPTS: Final = 3
FORKED_WITHIN_S: Final = 120.0
"""The process may have to start, and import, on a machine that has much to do; one that takes longer hangs."""

ENDED_WITHIN_S: Final = 1.0


class ForkFailed(Unavailable):
    """No process could be forked."""


class ZygoteProcess:
    """Forks children; the process is started by the first one."""

    def __init__(self, guardian: int) -> None:
        self._guardian = guardian
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._starting = asyncio.Lock()
        self._forks: dict[str, asyncio.Future[Forked]] = {}
        self._endings: dict[int, asyncio.Future[int]] = {}
        self._hearing: asyncio.Task[None] | None = None
        self._killing: set[asyncio.Task[None]] = set()
        self._unshared: set[str] = set()
        """Modules whose import may have started threads, which a process that forks must not have."""

    async def start(self) -> None:
        """Start the process unless it runs."""
        async with self._starting:
            if self._writer is None:
                await self._start()

    async def _start(self) -> None:
        ours, its = socket.socketpair()
        with its:
            environment = {**ONE_THREAD, **os.environ, **NO_GPU}
            environment["PYTHONPATH"] = os.pathsep.join(one or os.getcwd() for one in sys.path)
            arguments = [str(its.fileno()), str(self._guardian)]
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own module; it takes a millisecond
                [sys.executable, "-P", "-m", "deployments.hosting.zygote", *arguments],
                env=environment,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._hearing = asyncio.create_task(self._hear(reader, self._writer, self._process))

    async def fork(self, order: ForkOrder) -> int:
        """Return the process id of a new child; raises ForkFailed.

        Modules are shared to save memory alone, so that a second attempt does without.
        """
        problem = ""
        shared = tuple(one for one in order.modules if one not in self._unshared)
        for attempt in range(ATTEMPTS):
            await self.start()
            forked = await self._ordered(replace(order, modules=() if attempt else shared))
            if forked.pid:
                return forked.pid
            problem = forked.problem
        raise ForkFailed(problem)

    async def _ordered(self, order: ForkOrder) -> Forked:
        writer, process = self._writer, self._process
        if writer is None or process is None:
            return Forked(order.path, problem="the process that forks has ended")
        answer: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._forks[order.path] = answer
        write_message(writer, order)
        try:
            await asyncio.wait([answer], timeout=FORKED_WITHIN_S)
        except asyncio.CancelledError:
            if not answer.cancel():
                self._end_unwanted(answer.result())
            raise
        if answer.cancel():
            process.kill()
            return Forked(order.path, problem="the process that forks does not answer")
        return answer.result()

    async def status_of(self, pid: int, timeout_s: float) -> int | None:
        """Return the status with which a child ended; None where nobody saw it, as of one of an earlier process."""
        ending = self._endings.get(pid)
        if ending is None:
            return None
        await asyncio.wait([ending], timeout=timeout_s)
        return ending.result() if ending.done() else None

    def forget(self, pid: int) -> None:
        """Forget a child that has ended."""
        self._endings.pop(pid, None)

    async def kill(self, pid: int, path: str) -> None:
        """End a child to which nobody has connected, and forget it; until its end was seen, its number is its own."""
        ending = self._endings.get(pid)
        if ending is not None and not ending.done():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            await self.status_of(pid, ENDED_WITHIN_S)
        finally:
            self.forget(pid)
            with suppress(OSError):
                Path(path).unlink()

    async def _hear(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: subprocess.Popen[bytes]
    ) -> None:
        try:
            await self._hear_all(reader)
        except (EOFError, OSError):
            pass
        except Exception:
            log.exception("zygote_not_understood")
        is_lost = self._writer is writer
        if is_lost:
            self._writer = None  # the next fork starts another process, and is not among these
        forks, self._forks = self._forks, {}
        writer.close()
        process.kill()
        status = await asyncio.to_thread(process.wait)
        if is_lost:
            log.warning("zygote_ended status=%d", status)
        for path, fork in forks.items():
            if not fork.done():
                fork.set_result(Forked(path, problem=f"the process that forks ended with status {status}"))

    async def _hear_all(self, reader: asyncio.StreamReader) -> None:
        """Take what the process says until it has ended, or forks no more."""
        while True:
            match await read_message(reader):
                case Forked() as forked:
                    self._forked(forked)
                    if forked.is_spent:
                        log.warning("zygote_spent imported=%s error=%r", ",".join(forked.imported), forked.problem)
                        self._unshared.update(forked.imported)
                        return
                case Ended(pid, status):
                    self._ended(pid, status)

    def _forked(self, forked: Forked) -> None:
        if forked.pid:
            self._endings[forked.pid] = asyncio.get_running_loop().create_future()
        fork = self._forks.pop(forked.path, None)
        if fork is not None and not fork.done():
            fork.set_result(forked)
        else:
            self._end_unwanted(forked)

    def _end_unwanted(self, forked: Forked) -> None:
        """End a child whose version was unloaded while it was forked."""
        if forked.pid:
            killing = asyncio.create_task(self.kill(forked.pid, forked.path))
            self._killing.add(killing)
            killing.add_done_callback(self._killing.discard)

    def _ended(self, pid: int, status: int) -> None:
        ending = self._endings.get(pid)
        if ending is not None and not ending.done():
            ending.set_result(status)

    async def close(self) -> None:
        """End the process; its children live."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        if self._hearing is not None:
            self._hearing.cancel()
