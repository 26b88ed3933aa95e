"""`ray_model_server status`: the models of a running server as text and as JSON."""

from __future__ import annotations

import json

from tests.support.admin_server import AdminServer
from tests.support.commands import done, run


def test_status_shows_the_models(live: AdminServer, capsys) -> None:
    """As text, and as the document itself."""
    assert "m      2        AVAILABLE" in done(live, capsys, "status")
    assert "m      2        AVAILABLE" in done(live, capsys, "status", "m")
    document = json.loads(done(live, capsys, "status", "--json"))
    assert document["models"][0]["versions"][0]["replicas"] == 1
    assert json.loads(done(live, capsys, "status", "m", "--json"))["models"] == document["models"]


def test_status_of_an_unknown_model_fails(live: AdminServer, capsys) -> None:
    """With the same words on both ways."""
    assert run(live, "status", "x") == 1
    assert capsys.readouterr().err == "ray_model_server: There is no model x.\n"
    assert run(live, "status", "x", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"error": {"code": "NOT_FOUND", "message": "There is no model x."}}
