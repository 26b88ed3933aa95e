"""The access file as it is followed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.access.rights import HEALTH, INFER
from core.access.visitor import RuledVisitor
from core.errors import Unauthenticated
from deployments.access import followed_rules
from deployments.access.followed_rules import NOBODY, FollowedRules
from tests.support.doors.guarded_sites import client_of, eventually

Follow = Callable[[Path], FollowedRules]


@pytest.fixture
def follow() -> Iterator[Follow]:
    made: list[FollowedRules] = []

    def followed(file: Path) -> FollowedRules:
        made.append(FollowedRules(str(file), look_every_s=0.02))
        return made[-1]

    yield followed
    for one in made:
        one.close()


def names(followed: FollowedRules) -> list[str]:
    return [one.name for one in followed.rules.clients]


def test_a_file_behind_a_link_that_is_exchanged_is_read_again(follow: Follow, tmp_path: Path) -> None:
    """So Kubernetes changes what it mounts."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "access.yaml").write_text("clients:\n" + client_of(name, "infer"))
        os.utime(tmp_path / name / "access.yaml", (1, 1))
    (tmp_path / "data").symlink_to("a")
    followed = follow(tmp_path / "data" / "access.yaml")
    assert names(followed) == ["a"]

    (tmp_path / "next").symlink_to("b")
    (tmp_path / "next").rename(tmp_path / "data")

    assert eventually(lambda: names(followed) == ["b"])


def test_no_defect_ends_the_following_of_the_file(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a revoked token would count for ever, and nothing would show it."""
    file = tmp_path / "access.yaml"
    file.write_text("clients:\n" + client_of("a", "infer"))
    followed = follow(file)
    with monkeypatch.context() as broken:
        broken.setattr(followed_rules, "read_access_rules", lambda *_, **__: {}["odd"])
        file.write_text("clients:\n" + client_of("bb", "infer"))
        assert eventually(lambda: followed.problems)
    assert names(followed) == ["a"]
    assert followed.problems[0].message == "could not be read: KeyError"

    file.write_text("clients:\n" + client_of("ccc", "infer"))
    assert eventually(lambda: names(followed) == ["ccc"])


@pytest.mark.parametrize("content", ["", "clients: [", None])
def test_a_router_that_starts_with_a_broken_file_lets_in_nobody_until_it_is_mended(
    follow: Follow, tmp_path: Path, content: str | None
) -> None:
    """It knows of no earlier rules, and must not invent any."""
    file = tmp_path / "access.yaml"
    if content is not None:
        file.write_text(content)

    followed = follow(file)

    assert followed.problems
    nobody = RuledVisitor((), followed.rules.anyone)
    nobody.require(HEALTH)
    with pytest.raises(Unauthenticated):
        nobody.require(INFER.of("m"))
    assert followed.rules == NOBODY
    file.write_text("clients:\n" + client_of("a", "infer"))
    assert eventually(lambda: names(followed) == ["a"])
    assert followed.problems == ()


def test_a_new_file_with_certificates_that_no_port_asks_for_changes_nothing(tmp_path: Path) -> None:
    """Nobody could ever be that client; as at a start, where the same file is refused."""
    file = tmp_path / "access.yaml"
    file.write_text("clients:\n" + client_of("a", "infer"))
    followed = FollowedRules(str(file), look_every_s=0.02, asks_for_certificates=False)
    try:
        file.write_text('clients:\n  b:\n    certificates: ["CN:b"]\n    allow: [{groups: [infer]}]\n')

        assert eventually(lambda: bool(followed.problems))
        assert "access.yaml:3: clients.b.certificates: no port asks for one" in str(followed.problems[0])
        assert names(followed) == ["a"]
    finally:
        followed.close()
