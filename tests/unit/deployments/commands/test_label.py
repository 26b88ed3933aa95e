"""`ray_model_server label`: labels that move, wait and go."""

from __future__ import annotations

from dataclasses import replace

from tests.support.admin_server import AdminServer
from tests.support.commands import done, run
from tests.support.sites import SETTINGS, Site


def test_a_label_moves_and_goes(live: AdminServer, capsys) -> None:
    """At once, when its version answers."""
    done(live, capsys, "load", "m", "1")

    assert (
        done(live, capsys, "label", "m", "stable", "1") == "m: label stable 2 -> 1\nm: label stable names version 1\n"
    )
    assert live.site.router.table.resolve("m", label="stable").app == "m:1"
    assert (
        done(live, capsys, "label", "m", "--remove", "stable")
        == "m: label stable 1 -> none\nm: label stable is removed\n"
    )
    assert live.site.router.table.models["m"].labels == {}


def test_a_label_may_wait_for_its_version(live: AdminServer, capsys) -> None:
    """Meanwhile it names the old one, and the command says so."""
    printed = done(live, capsys, "label", "m", "stable", "3")

    assert printed.endswith("m: label stable waits for version 3; until then it names version 2\n")
    assert live.site.router.table.resolve("m", label="stable").app == "m:2"


def test_strict_labels_refuse_what_upstream_refuses(capsys) -> None:
    """With its words."""
    settings = replace(SETTINGS, source=replace(SETTINGS.source, strict_version_labels=True))
    site = Site((1,), settings=settings)
    site.settle()
    with AdminServer(site) as live:
        assert run(live, "label", "m", "stable", "3") == 1
    assert (
        "Request to assign label to version 3 of model m, which is not currently available" in capsys.readouterr().err
    )
