"""`make serve`: Ray's own command, on a Ray that is started up to three times."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.launch.ray_start import StartTimedOut
from deployments.launch.serve_run import main


class Starts:
    """Starts of which all are late but the last one, if there is one that succeeds."""

    def __init__(self, *, late: int) -> None:
        self.late = late

    def start(self) -> None:
        if self.late:
            self.late -= 1
            raise StartTimedOut

    def clear(self) -> None:
        """Nothing was left behind."""


def test_a_ray_that_never_comes_up_ends_the_command_with_one_paragraph(capfd: pytest.CaptureFixture[str]) -> None:
    """A traceback of Ray's would not say what to do."""
    assert main(["app.yaml"], Starts(late=3)) == 1

    lines = capfd.readouterr().err.splitlines()
    assert lines[:2] == [f"Ray did not start within its 30 s; trying again ({number} of 3)" for number in (2, 3)]
    assert lines[2].startswith("Ray did not start in 3 tries of 30 s each.")
    assert len(lines) == 3


def test_the_configuration_is_handed_to_rays_own_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`serve run` reads the file, checks it, and so goes on from the Ray that was started."""
    file = tmp_path / "app.yaml"
    file.write_text("applications: 7\n")

    with pytest.raises(ValueError, match="applications"):
        main([str(file)], Starts(late=1))

    assert f"Running config file: '{file}'" in "".join(capfd.readouterr())
