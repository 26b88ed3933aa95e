"""A headless Chromium for tests of pages: one on the PATH, or one that was unpacked into `.tools`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.project import ROOT

UNPACKED = ROOT / ".tools" / "usr" / "lib" / "chromium" / "chromium"


def chromium() -> str | None:
    """Return the program, or None where there is none."""
    found = shutil.which("chromium")
    return found or (str(UNPACKED) if UNPACKED.exists() else None)


@contextmanager
def browser() -> Iterator[Any]:
    """Run one."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not there where browser tests are skipped

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-gpu"],
            env={**os.environ, "LD_LIBRARY_PATH": _libraries()},
        )
        try:
            yield running
        finally:
            running.close()


def _libraries() -> str:
    """Return the folders of libraries that were unpacked with it."""
    folders = (ROOT / ".tools" / "usr" / "lib").glob("*-linux-gnu")
    return os.pathsep.join(str(one) for folder in folders for one in (folder, folder / "pulseaudio"))
