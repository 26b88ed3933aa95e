"""`ray_model_server profile`: the file, and what is said when there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ray.exceptions import RayActorError

from tests.support.admin_server import AdminServer
from tests.support.commands import done, run


def test_a_profile_is_written_into_a_file(live: AdminServer, tmp_path: Path, capsys) -> None:
    """Of the version that is named, or the newest."""
    output = tmp_path / "profile.json"

    printed = done(live, capsys, "profile", "m", "--seconds", "0.5", "--output", str(output))

    assert output.read_text() == "m:2 for 0.5 s"
    assert printed.startswith(f"Recorded 0.5 s of m version 2: {output}")
    told = json.loads(done(live, capsys, "profile", "m", "--label", "stable", "--output", str(output), "--json"))
    assert told == {"model": "m", "version": "2", "file": str(output), "bytes": len("m:2 for 5 s")}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["x"], "There is no model x."),
        (["m", "--version", "7"], "m has no version 7."),
        (["m", "--label", "none"], "none"),
        (["m", "--seconds", "0"], "from 0.1 to 60 seconds"),
        (["m", "--seconds", "61"], "from 0.1 to 60 seconds"),
        (["m", "--seconds", "nan"], "from 0.1 to 60 seconds"),
        (["m", "--output", "/no/such/folder/profile.json"], "cannot be written"),
        (["m", "--output", "/"], "cannot be written"),
    ],
)
def test_a_profile_that_cannot_be_is_refused_with_the_reason(live: AdminServer, arguments, text: str, capsys) -> None:
    """Nothing is written."""
    assert run(live, "profile", *arguments) == 1

    assert text in capsys.readouterr().err


def test_a_replica_that_does_not_answer_is_reported(live: AdminServer, tmp_path: Path, capsys) -> None:
    """It may be gone since the table was made."""
    live.recording_error = RayActorError()

    assert run(live, "profile", "m", "--output", str(tmp_path / "p")) == 1

    assert "No replica of m:2 could be recorded" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
