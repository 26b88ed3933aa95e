"""The form of findings: programs that show where a library or a format surprised, and stop being true aloud."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.project import ROOT

FINDINGS = sorted((ROOT / "findings").iterdir())
HEAD_LINES = 12
VERSIONS = re.compile(r"^# Versions: .*\d+\.\d+", re.MULTILINE)
INSTALLED = re.compile(r'/pip" install --quiet (.+)$', re.MULTILINE)
PINNED = re.compile(r'^"?[\w.-]+(?:\[\w+\])?==[\d.$]+"?$')
TRAP = "trap 'rm -rf \"$folder\"' EXIT"

each_finding = pytest.mark.parametrize("finding", FINDINGS, ids=[path.name for path in FINDINGS])


def test_findings_are_scripts_in_one_folder() -> None:
    """One program each, and nothing beside them."""
    assert FINDINGS
    assert [path.name for path in FINDINGS if not re.fullmatch(r"[a-z0-9_]+\.sh", path.name)] == []


@each_finding
def test_a_finding_runs_as_it_is(finding: Path) -> None:
    """Without an argument, from any folder, and it stops at the first command that fails."""
    lines = finding.read_text(encoding="utf-8").splitlines()

    assert os.access(finding, os.X_OK)
    assert lines[0] == "#!/usr/bin/env bash"
    assert next(line for line in lines if not line.startswith("#")) == "set -euo pipefail"


@each_finding
def test_a_finding_begins_with_versions_behaviour_and_output(finding: Path) -> None:
    """A reader knows in its first lines what was seen, and with what."""
    head = "\n".join(finding.read_text(encoding="utf-8").splitlines()[:HEAD_LINES])

    assert VERSIONS.search(head)
    assert "\n# Behaviour: " in head
    assert "\n# Output seen:\n#   " in head


@each_finding
def test_a_finding_installs_pinned_packages_in_a_folder_of_its_own(finding: Path) -> None:
    """Newer packages cannot change what it shows, and nothing of it is left."""
    content = finding.read_text(encoding="utf-8")
    installs = INSTALLED.findall(content)

    assert content.index("folder=$(mktemp -d)") < content.index(TRAP) < content.index("-m venv")
    assert installs
    assert content.count("pip") - content.count("pipefail") == len(installs)
    assert [one for line in installs for one in line.split() if not PINNED.match(one)] == []


@each_finding
def test_a_finding_runs_without_the_server(finding: Path) -> None:
    """It is about the library alone."""
    content = finding.read_text(encoding="utf-8")

    assert re.search(r"\b(?:from|import) (?:core|deployments|tests)\b|ray_model_server", content) is None
