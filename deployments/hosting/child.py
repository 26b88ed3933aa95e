"""A child: the process of one hosted version. It loads it, answers routers itself, and does what its host asks.

A host may die and another take its place: meanwhile the child answers on, and tells the next host what it serves. It
ends when it is told to, when no host has come for a while, and with the node.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import socket
from functools import partial
from pathlib import Path
from typing import Any, Final

from numpy import random
from setproctitle import setproctitle

from core.errors import Code
from core.versions.load_report import LoadFailed
from deployments.hosting.messages import (
    Ask,
    ChildState,
    End,
    ForkOrder,
    LoadOrder,
    Question,
    Reply,
    TakenOver,
    read_message,
    write_message,
)
from deployments.inference.batcher import by_itself
from deployments.inference.served_version import ServedVersion
from deployments.system.daemon_threads import DaemonThreads
from deployments.system.installed import server_version
from deployments.telemetry.process_logs import log_into
from deployments.telemetry.process_metrics import report

log = logging.getLogger(__name__)

WITHOUT_HOST_S: Final = 60.0
"""How long a child answers on without a host: Serve replaces one within seconds, unless it is gone for good."""

UNASKED_S: Final = 10.0
"""How long a child waits for a host that has ordered it, and may have changed its mind."""


def be_child(listener: socket.socket, guardian: int, order: ForkOrder) -> int:
    """Be the process of a version until it ends; returns the exit status.

    Hosts connect to `listener`. `guardian` becomes readable when the node ends.
    """
    os.setsid()
    setproctitle(order.title)
    faulthandler.enable(all_threads=False)  # as Ray does: the stack of a crash goes to the log of the host's process
    random.seed()  # noqa: NPY002 - or models that draw from it would draw alike
    # Unlike `asyncio.run`, this does not wait for threads that hang.
    asyncio.new_event_loop().run_until_complete(Child(listener, guardian, order.path).run())
    return 0


class Child:
    """The main thread of a child: its loop sleeps unless a host asks something."""

    def __init__(self, listener: socket.socket, guardian: int, path: str) -> None:
        self._listener = listener
        self._guardian = guardian
        self._path = path
        self._ending = asyncio.Event()
        self._host: asyncio.StreamWriter | None = None
        self._alone: asyncio.TimerHandle | None = None
        self._order: LoadOrder | None = None
        self._version: ServedVersion | None = None
        self._failure = ""
        self._threads = DaemonThreads("work", 4)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Do what hosts ask until the end."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        loop.add_reader(self._guardian, os._exit, 0)
        self._await_host()
        server = await asyncio.start_unix_server(self._attend, sock=self._listener)
        await self._ending.wait()
        server.close()
        Path(self._path).unlink(missing_ok=True)
        if self._version is not None:
            await self._version.end()

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what a host asks until it has gone; the one that came last counts."""
        if self._host is not None:
            self._send(TakenOver())
            self._host.close()
        self._host = writer
        if self._alone is not None:
            self._alone.cancel()
        try:
            self._tell()
            while True:
                self._take(await read_message(reader), writer)
        except (EOFError, OSError):
            pass
        finally:
            writer.close()
            if self._host is writer:
                self._host = None
                self._await_host()

    def _await_host(self) -> None:
        """End some time after the last host has gone; at once where there is nothing to lose."""
        if self._order is not None and self._version is None:
            os._exit(1)
        patience_s = UNASKED_S if self._version is None else WITHOUT_HOST_S
        self._alone = asyncio.get_running_loop().call_later(patience_s, self._ending.set)

    def _tell(self) -> None:
        endpoint = None if self._version is None else self._version.address
        self._send(ChildState(os.getpid(), server_version(), self._order, endpoint, self._failure))

    def _send(self, message: object) -> None:
        if self._host is not None:
            write_message(self._host, message)

    def _take(self, message: object, asking: asyncio.StreamWriter) -> None:
        match message:
            case LoadOrder():
                self._begin(self._load(message))
            case Question():
                self._begin(self._answer(message, asking))
            case End():
                self._ending.set()

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, order: LoadOrder) -> None:
        self._order = order
        loading = self._threads.submit(partial(_served, order))
        try:
            self._version = await asyncio.wrap_future(loading)
        except LoadFailed as error:
            self._failure = str(error)
        except (Exception, SystemExit) as error:
            log.exception("load_failed")
            self._failure = str(LoadFailed(Code.UNKNOWN, f"{type(error).__name__}: {error}"))
        self._tell()
        if self._failure:
            self._ending.set()

    async def _answer(self, question: Question, asking: asyncio.StreamWriter) -> None:
        """Answer the host that asked: the next one counts its questions from the same number on."""
        try:
            reply = Reply(question.number, await self._answer_to(question))
        except Exception as error:
            log.exception("question_failed ask=%s", question.ask.value)
            reply = Reply(question.number, problem=f"{type(error).__name__}: {error}")
        write_message(asking, reply)

    async def _answer_to(self, question: Question) -> Any:
        version = self._version
        if version is None:
            raise RuntimeError("the version is not loaded")
        match question.ask:
            case Ask.ENDPOINT:
                return version.endpoint(question.argument)
            case Ask.HEALTH:
                return await version.check_health()
            case Ask.PROFILE:
                return await asyncio.wrap_future(self._threads.submit(partial(version.profile, question.argument)))
            case Ask.END_PROFILE:
                return version.end_profile(question.argument)
            case Ask.METRICS:
                return report()


def _served(order: LoadOrder) -> ServedVersion:
    """Load a version."""
    spec = order.spec
    names = (spec.servable.name, str(spec.servable.version), order.place.replica)
    log_into(Path(order.logs), spec.settings.logs, "model", *names)
    return ServedVersion(spec, order.place, by_itself)
