"""A headless Chromium for tests of pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import sync_playwright

from tests.support.tools import libraries, program


@contextmanager
def browser() -> Iterator[Any]:
    """Run one; skips the test where it cannot be had."""
    path = program("chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu"],
            env={**os.environ, "LD_LIBRARY_PATH": libraries()},
        )
        try:
            yield running
        finally:
            running.close()
