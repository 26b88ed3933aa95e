"""Threads that do not keep a process alive, and never more than allowed."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from deployments.system.daemon_threads import DaemonThreads
from tests.support.clients import wait_until


def test_results_and_errors_come_back() -> None:
    """As from the standard library's pools."""
    threads = DaemonThreads("t", 2)

    assert threads.submit(lambda: 7).result(60) == 7
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(60)
    threads.close()


def test_no_more_threads_than_allowed_work() -> None:
    """The rest waits."""
    threads = DaemonThreads("limited", 3)
    go_on = threading.Event()
    at_work: list[int] = []

    def work() -> None:
        at_work.append(1)
        go_on.wait(60)

    futures = [threads.submit(work) for _ in range(9)]
    wait_until(lambda: len(at_work) == 3, "three threads work")
    assert sum(one.name == "limited" for one in threading.enumerate()) == 3

    go_on.set()
    for one in futures:
        one.result(60)
    threads.close()
    wait_until(lambda: not any(one.name == "limited" for one in threading.enumerate()), "the threads have ended")


def test_a_thread_is_used_again() -> None:
    """One call after the other needs one thread."""
    threads = DaemonThreads("again", 5)

    idents = {threads.submit(threading.get_ident).result(60) for _ in range(3)}
    wait_until(lambda: threads._unfinished == 0, "nothing is under way")
    idents.add(threads.submit(threading.get_ident).result(60))
    threads.close()

    assert len(idents) <= 2


def test_a_call_that_is_cancelled_is_not_made() -> None:
    """Others go on."""
    threads = DaemonThreads("t", 1)
    go_on = threading.Event()
    made: list[int] = []
    first = threads.submit(lambda: go_on.wait(60))
    second = threads.submit(lambda: made.append(2))

    assert second.cancel()
    go_on.set()
    first.result(60)
    threads.submit(lambda: made.append(3)).result(60)
    threads.close()

    assert made == [3]


def test_a_hanging_call_does_not_keep_the_process_alive() -> None:
    """A watcher must be able to end while a store hangs."""
    code = (
        "import threading\n"
        "from deployments.system.daemon_threads import DaemonThreads\n"
        "DaemonThreads('hangs', 1).submit(threading.Event().wait)\n"
    )

    assert subprocess.run([sys.executable, "-c", code], timeout=200, check=False).returncode == 0
