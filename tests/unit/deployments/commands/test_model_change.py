"""Changes of the list of models by commands: at the same time, without waiting, and beside files and watchers."""

from __future__ import annotations

import threading
from dataclasses import replace

import grpc
import pytest

from core.config.server_settings import ModelSourceSettings
from tests.support.admin_server import AdminServer
from tests.support.clients import wait_until
from tests.support.commands import done, in_force, run
from tests.support.sites import SETTINGS, M, Site


def test_a_command_does_not_wait_for_ever_and_need_not_wait_at_all(live: AdminServer, capsys) -> None:
    """What it began goes on."""
    live.site.host.finish_deploying = lambda _: None

    assert run(live, "load", "m", "1", "--timeout", "1.5") == 1
    assert "not done after 1.5 s: m: version 2 is AVAILABLE; version 1 is LOADING" in capsys.readouterr().out
    assert run(live, "unload", "m", "1", "--no-wait") == 0
    assert capsys.readouterr().out == "m: policy specific 1, 2 -> specific 2\n"


def test_changes_of_many_operators_at_once_are_all_there(live: AdminServer) -> None:
    """Each of twelve commands adds a label; none is lost."""
    results: list[int] = []
    commands = [
        threading.Thread(target=lambda text=f"l{number}": results.append(run(live, "label", "m", text, "2")))
        for number in range(12)
    ]
    for one in commands:
        one.start()
    for one in commands:
        one.join(60)

    assert results == [0] * 12
    assert in_force(live)["m"].labels == {"stable": 2, **{f"l{number}": 2 for number in range(12)}}


def test_a_change_outlives_the_watcher(live: AdminServer, capsys) -> None:
    """When the command has ended, routers hold it."""
    done(live, capsys, "label", "m", "canary", "2")
    live.is_turning = False

    successor = live.site
    successor.restart()
    successor.tick()

    assert successor.router.table.models["m"].labels == {"stable": 2, "canary": 2}


def test_a_change_of_the_file_ends_what_commands_changed(live: AdminServer, capsys) -> None:
    """The file is the truth as soon as somebody writes it."""
    done(live, capsys, "label", "m", "canary", "2")
    assert "changed at run time, until the content of /m.config changes" in done(live, capsys, "status")

    live.site.model_list.configs = (replace(M, labels={"new": 2}),)

    wait_until(lambda: live.site.router.table.models["m"].labels == {"new": 2}, "the file counts")


def test_a_change_while_no_list_could_be_read_is_refused(capsys) -> None:
    """The server has nothing that could be changed."""
    site = Site(settings=replace(SETTINGS, source=ModelSourceSettings()))
    live = AdminServer(site)
    live.is_turning = False
    with live:
        assert run(live, "label", "m", "a", "1") == 1
    assert "No list of models could be read yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff\xff", "not a valid ChangeConfigRequest"),
        (b"", "expected_fingerprint is missing"),
        (b"\x12\x01x", "config.model_config_list is missing"),
        (b"\x0a\x02\x0a\x00\x12\x01x", "changed meanwhile"),
    ],
)
def test_odd_changes_are_refused(live: AdminServer, raw: bytes, text: str) -> None:
    """Above all, none that would replace a list that its sender has not seen."""
    with grpc.insecure_channel(live.address) as channel, pytest.raises(grpc.RpcError, match=text):
        channel.unary_unary("/ray_model_server.Admin/ChangeConfig")(raw, timeout=60)
