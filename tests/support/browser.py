"""A headless Chromium for tests of pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import sync_playwright

from tests.support.tools import libraries, program

SOON_MS = 60_000
"""How long a page may take for anything, on a machine that has other work."""

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",  # a browser ends when its GPU process was late, or ended, a few times
    "--disable-gpu-watchdog",  # which takes a busy machine for a hang
    "--disable-dev-shm-usage",  # /dev/shm is Ray's, and may be full: pages would crash
)


@contextmanager
def browser() -> Iterator[Any]:
    """Run one; skips the test where it cannot be had."""
    path = program("chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            args=ARGUMENTS,
            timeout=2 * SOON_MS,
            env={**os.environ, "LD_LIBRARY_PATH": libraries()},
        )
        try:
            yield running
        finally:
            running.close()


def new_context(running: Any, **options: Any) -> Any:
    """Return a context of a browser whose pages are waited for that long."""
    context = running.new_context(**options)
    context.set_default_timeout(SOON_MS)
    return context
