"""docs/security.md: each claim has a test, and each test is there."""

from __future__ import annotations

import ast
import re

import pytest

from core.access.access_file import read_access_rules
from core.access.rights import MethodGroup
from tests.support.project import ROOT

TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
CLAIMS = TEXT[TEXT.index("## Claims and their tests") :]
ROW = re.compile(r"^\| (?!claim \||-)(.+) \| `([\w/.]+)::(\w+)` \|$", re.MULTILINE)
ROWS = ROW.findall(CLAIMS)


def test_every_row_names_a_claim_and_a_test() -> None:
    """A row of another form would not be looked at."""
    lines = [one for one in CLAIMS.splitlines() if one.startswith("| ")]

    assert len(lines) == len(ROWS) + 1
    assert len({claim for claim, _, _ in ROWS}) == len(ROWS) > 30


@pytest.mark.parametrize(("file", "name"), [(file, name) for _, file, name in ROWS])
def test_the_test_of_a_claim_is_there(file: str, name: str) -> None:
    """One that is renamed or dropped takes its claim along."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert name in found


def test_the_example_of_an_access_file_can_be_read() -> None:
    """Readers copy it."""
    example = re.search(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert example is not None

    assert [one.name for one in read_access_rules(example[1]).clients] == ["ranking", "operators"]


def test_every_group_is_described() -> None:
    """By the word that the file uses."""
    assert set(re.findall(r"^\| `(\w+)` \| ", TEXT, re.MULTILINE)) == {one.value for one in MethodGroup}
