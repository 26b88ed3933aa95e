"""The process that forks, as its host sees it: what happens when it ends, hangs, or cannot import what is to be shared."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import pytest_asyncio

from deployments.hosting import zygote_process
from deployments.hosting.messages import ForkOrder
from deployments.hosting.zygote_process import ForkFailed, ZygoteProcess
from tests.support.processes import has_ended
from tests.support.real_hosts import until


class Site:
    """A process that forks, and the sockets of its children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.zygote = ZygoteProcess(os.getpid())
        self._orders = 0

    def order(self, *modules: str) -> ForkOrder:
        self._orders += 1
        return ForkOrder(str(self.folder / str(self._orders)), "child of a test", modules)

    async def fork(self, *modules: str) -> int:
        """Fork a child and end it again; returns the process that forked it."""
        order = self.order(*modules)
        async with asyncio.timeout(60.0):
            pid = await self.zygote.fork(order)
        assert Path(order.path).exists()
        forking = psutil.Process(pid).ppid()
        await self.zygote.kill(pid, order.path)
        assert has_ended(pid)
        return forking


@pytest_asyncio.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A process that forks and finds the modules of a test; its folder has a short name, because it holds sockets."""
    monkeypatch.syspath_prepend(tmp_path)
    with TemporaryDirectory(prefix="h") as folder:
        made = Site(Path(folder))
        yield made
        await made.zygote.close()


@pytest.mark.parametrize("mistake", ["raise AttributeError('a broken dependency')", "import sys; sys.exit('no')"])
async def test_a_module_that_cannot_be_imported_is_not_shared(site: Site, tmp_path: Path, mistake: str) -> None:
    """The child that needs it says what it misses; the process that forks goes on, and others have their forks."""
    (tmp_path / "cannot_be_imported.py").write_text(mistake)

    forking = await site.fork()

    assert [await site.fork("cannot_be_imported"), await site.fork()] == [forking] * 2


async def test_a_module_whose_import_starts_a_thread_is_shared_no_more(site: Site, tmp_path: Path) -> None:
    """A process with threads must not fork: another one takes its place, once."""
    (tmp_path / "starts_a_thread.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    before = await site.fork()

    after = await site.fork("starts_a_thread")

    assert after != before
    assert [await site.fork("starts_a_thread"), await site.fork()] == [after] * 2
    assert has_ended(before)


async def test_a_module_that_ends_the_process_is_left_to_the_child(site: Site, tmp_path: Path) -> None:
    """The second attempt does without sharing it."""
    (tmp_path / "ends_it.py").write_text("import os\nos._exit(3)\n")

    assert await site.fork("ends_it")


async def test_the_next_process_forks_while_the_last_one_is_still_waited_for(site: Site) -> None:
    """What was ordered of it is not told to have failed with the last one."""
    before = await site.fork()
    process, may_end = site.zygote._process, threading.Event()
    assert process is not None
    wait = process.wait
    process.wait = lambda: (may_end.wait(60.0), wait())[1]  # type: ignore[method-assign,assignment]
    os.kill(before, signal.SIGKILL)
    await until(lambda: site.zygote._writer is None)
    ordered = asyncio.create_task(site.zygote.fork(order := site.order()))
    await until(lambda: site.zygote._forks)

    may_end.set()

    pid = await ordered
    assert psutil.Process(pid).ppid() != before
    await site.zygote.kill(pid, order.path)


async def test_a_process_that_does_not_answer_is_replaced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nothing could be loaded on its node any more."""
    before = await site.fork()
    os.kill(before, signal.SIGSTOP)
    monkeypatch.setattr(zygote_process, "FORKED_WITHIN_S", 0.2)

    async with asyncio.timeout(60.0):
        with suppress(ForkFailed):  # the next one needs longer to start than it has in this test
            await site.zygote.fork(site.order())

    await until(lambda: has_ended(before))
    monkeypatch.undo()
    assert await site.fork() != before


async def test_a_child_that_nobody_waits_for_any_more_is_ended(site: Site) -> None:
    """Its version was unloaded between the order and the fork."""
    forking = await site.fork()
    order = site.order()
    os.kill(forking, signal.SIGSTOP)
    ordered = asyncio.create_task(site.zygote.fork(order))
    await until(lambda: site.zygote._forks)
    ordered.cancel()
    await asyncio.wait([ordered])

    os.kill(forking, signal.SIGCONT)

    await until(lambda: not site.zygote._forks and not site.zygote._killing)
    assert (psutil.Process(forking).children(), site.zygote._endings, Path(order.path).exists()) == ([], {}, False)
