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


NARROWEST, WIDEST, STEP = 320, 1600, 16
"""Widths of windows that a page is looked at in, in pixels."""

CONTRAST = """() => {
  const number = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (text) => number(text)
    .map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => {
    const colour = getComputedStyle(node).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" && node.parentElement ? behind(node.parentElement) : colour;
  };
  const ratio = (node) => {
    const [dark, bright] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  return Math.min(...[...document.querySelectorAll("body *")].filter((one) => one.innerText).map(ratio));
}"""
"""The lowest contrast of a text on its ground."""

TORN = """() => {
  const torn = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest("script, style, pre, textarea, option, svg")) continue;
    for (const { index, 0: word } of node.data.matchAll(/[^\\s]+/g)) {
      if (word.length > 24) continue;
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const lines = new Set([...range.getClientRects()].filter((one) => one.width).map((one) => Math.round(one.top)));
      if (lines.size > 1 && !/[-/?&]/.test(word)) torn.add(word);
    }
  }
  return [...torn];
}"""
"""The short words of a page that stand on two lines; those that may be broken at a sign are left out."""


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


def misfits(tab: Any) -> list[tuple[int, str]]:
    """Return the widths at which a page is wider than its window or tears a short word, with what is wrong."""
    found = []
    for width in range(NARROWEST, WIDEST + 1, STEP):
        tab.set_viewport_size({"width": width, "height": 800})
        if tab.evaluate("document.documentElement.scrollWidth") > width:
            found.append((width, "is too wide"))
        found += [(width, word) for word in tab.evaluate(TORN)]
    return found
