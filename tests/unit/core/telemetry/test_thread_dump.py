"""What the interpreter writes of its threads."""

from __future__ import annotations

from core.telemetry.thread_dump import thread_stacks

DUMP = """Thread 0x00007fd2d1ddd6c0 (most recent call first):
  File "/somewhere/daemon_threads.py", line 43 in _work
  File "/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007fd2de7f46c0 (most recent call first):
  File "<frozen runpy>", line ??? in <module>
  ...
"""


def test_each_thread_has_its_functions_from_the_outside() -> None:
    """With the names of their files; a note that more was left out is none."""
    assert thread_stacks(DUMP) == {
        0x7FD2D1DDD6C0: ("run (threading.py)", "_work (daemon_threads.py)"),
        0x7FD2DE7F46C0: ("<module> (<frozen runpy>)",),
    }


def test_anything_else_is_left_out() -> None:
    """The form belongs to the interpreter, and may change."""
    assert thread_stacks("") == {}
    assert thread_stacks("what is this\n  File without quotes\n") == {}
