"""The host's side of the process that forks: starts it, again when it has ended, and hears how children end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Final

from core.errors import Unavailable
from deployments.hosting.messages import Ended, Forked, ForkOrder, packed, read_message

log = logging.getLogger(__name__)

ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Numpy's library would start its threads when it is imported; Ray gives replicas one, too."""

NO_GPU: Final = {"CUDA_VISIBLE_DEVICES": "-1"}
"""Each child would take memory of the GPU; versions for one have a deployment of their own."""

ATTEMPTS: Final = 3


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
        """Return the process id of a new child; raises ForkFailed."""
        problem = ""
        for _ in range(ATTEMPTS):
            await self.start()
            forked = await self._ordered(order)
            if forked.pid:
                return forked.pid
            problem = forked.problem
        raise ForkFailed(problem)

    async def _ordered(self, order: ForkOrder) -> Forked:
        writer = self._writer
        if writer is None:
            return Forked(order.path, problem="the process that forks has ended")
        answer: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._forks[order.path] = answer
        writer.write(packed(order))
        return await answer

    async def status_of(self, pid: int, timeout_s: float) -> int | None:
        """Return the status with which a child ended; None where nobody saw it, as of one of an earlier process."""
        ending = self._endings.get(pid)
        if ending is None:
            return None
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(ending), timeout_s)
        return None

    def forget(self, pid: int) -> None:
        """Forget a child that has ended."""
        self._endings.pop(pid, None)

    async def _hear(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: subprocess.Popen[bytes]
    ) -> None:
        with suppress(EOFError, OSError):
            while True:
                match await read_message(reader):
                    case Forked() as forked:
                        self._forked(forked)
                    case Ended(pid, status):
                        self._ended(pid, status)
        writer.close()
        process.kill()
        status = await asyncio.to_thread(process.wait)
        if self._writer is writer:
            self._writer = None
            log.warning("zygote_ended status=%d", status)
        self._fail(f"the process that forks ended with status {status}")

    def _forked(self, forked: Forked) -> None:
        if forked.pid:
            self._endings[forked.pid] = asyncio.get_running_loop().create_future()
        fork = self._forks.pop(forked.path)
        if not fork.done():
            fork.set_result(forked)

    def _ended(self, pid: int, status: int) -> None:
        ending = self._endings.get(pid)
        if ending is not None and not ending.done():
            ending.set_result(status)

    def _fail(self, problem: str) -> None:
        forks, self._forks = self._forks, {}
        for path, fork in forks.items():
            if not fork.done():
                fork.set_result(Forked(path, problem=problem))

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
