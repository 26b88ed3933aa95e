"""Parses the stacks of all threads, as the interpreter dumps them (`faulthandler`)."""

from __future__ import annotations

import re
from pathlib import PurePath

from core.telemetry.profile_file import Stack

_THREAD = re.compile(r"(?:Current thread|Thread) 0x([0-9a-f]+)")
_FRAME = re.compile(r'  File "(.*)", line (?:\d+|\?\?\?) in (.*)')


def thread_stacks(dump: str) -> dict[int, Stack]:
    """Return the functions of each thread by its identity, the outermost first; lines of another form are left out."""
    innermost_first: dict[int, list[str]] = {}
    functions: list[str] = []
    for line in dump.splitlines():
        thread = _THREAD.match(line)
        if thread is not None:
            functions = innermost_first.setdefault(int(thread[1], 16), [])
            continue
        frame = _FRAME.fullmatch(line)
        if frame is not None:
            functions.append(f"{frame[2]} ({PurePath(frame[1]).name})")
    return {thread: tuple(reversed(found)) for thread, found in innermost_first.items()}
