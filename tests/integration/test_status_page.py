"""The status page of a running server, in a browser that stays open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.recording.warmup_file import FILE
from tests.integration.conftest import LiveServer
from tests.support.browser import SOON_MS, browser, new_context
from tests.support.clients import ClosedLoop, RestClient, wait_until


@pytest.mark.tools
def test_a_rollout_and_its_traffic_are_seen_live(server: LiveServer, client: RestClient, base_path: Path) -> None:
    """A new version loads and takes over, the old one goes, requests become a curve; nobody touches the page.

    The model's own page sends a request and shows the same traffic.
    """
    server.copy_version("half_plus_two_versions", 1, base_path)
    server.configure("watched", base_path)
    wait_until(lambda: client.available("watched") == {1}, "the first version answers")
    faults: list[str] = []
    with (
        browser() as chrome,
        ClosedLoop(server.rest_port, "/v1/models/watched:predict", {"instances": [2.0]}) as load,
    ):
        tab = new_context(chrome).new_page()
        tab.on("console", lambda line: faults.append(line.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(f"http://127.0.0.1:{server.rest_port}/")
        old, new = (tab.locator(f'tr[data-key="watched {version}"]') for version in (1, 2))
        old.locator("svg[aria-label^='requests per second']").first.wait_for(timeout=SOON_MS)

        held = version_that_loads_until_released(server, base_path)
        new.get_by_text("LOADING").first.wait_for(timeout=SOON_MS)
        held.write_bytes(b"")

        new.get_by_text("AVAILABLE").first.wait_for(timeout=SOON_MS)
        old.get_by_text("END").first.or_(tab.locator("body:not(:has(tr[data-key='watched 1']))")).wait_for(
            timeout=SOON_MS
        )
        new.locator("svg[aria-label^='p99 latency']").first.wait_for(timeout=SOON_MS)

        new.get_by_role("link", name="watched").click()
        tab.get_by_label("Body").fill('{"instances": [2.0]}')
        tab.get_by_role("button", name="Send").click()
        tab.locator("#outcome.good").wait_for(timeout=SOON_MS)
        tab.get_by_role("img", name="Latency over the last 5 min: p50 at most").first.wait_for(timeout=SOON_MS)

    server.remove("watched")
    assert faults == []
    assert load.failures == []


def version_that_loads_until_released(server: LiveServer, base_path: Path) -> Path:
    """Put version 2 into place; gives its warm-up requests, a named pipe: loading waits until that is written to."""
    aside = server.copy_version("half_plus_two_versions", 2, base_path.parent / "aside")
    pipe = aside / FILE
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    aside.rename(base_path / "2")
    return base_path / "2" / FILE
