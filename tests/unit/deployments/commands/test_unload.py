"""`ray_model_server unload`: versions and models that leave."""

from __future__ import annotations

from core.versions.lifecycle import State
from tests.support.admin_server import AdminServer
from tests.support.commands import done, in_force, run, state


def test_a_version_is_taken_out_of_service(live: AdminServer, capsys) -> None:
    """The last one only by force; then the model is there without versions."""
    done(live, capsys, "load", "m", "1")
    assert done(live, capsys, "unload", "m", "2").endswith("m version 2: unloaded\n")
    assert state(live, 2) is State.END
    assert run(live, "unload", "m", "1") == 1
    assert "Version 1 is the only one" in capsys.readouterr().err

    done(live, capsys, "unload", "m", "1", "--force")

    assert live.site.host.apps == {}


def test_a_model_is_removed_and_comes_back_as_the_files_have_it(live: AdminServer, capsys) -> None:
    """`unload` and `load` without a version."""
    assert done(live, capsys, "unload", "m") == "m: removed\nm: unloaded\n"
    assert in_force(live) == {}
    printed = done(live, capsys, "load", "m")

    assert "m: added, base path /m, policy latest 1" in printed
    assert in_force(live)["m"].labels == {"stable": 2}
