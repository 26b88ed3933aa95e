"""`ray_model_server mirror`: copies to another version."""

from __future__ import annotations

import pytest

from core.admin.delivery_messages import RolloutRequest
from core.delivery.split import MirrorSettings
from tests.support.admin_server import AdminServer
from tests.support.commands import done, run


@pytest.mark.parametrize(
    ("arguments", "mirror"),
    [
        (["8"], MirrorSettings("8", 10_000, 8)),
        (["8", "--percent", "10"], MirrorSettings("8", 1_000, 8)),
        (["canary", "--percent", "0.01", "--max-in-flight", "1024"], MirrorSettings("canary", 1, 1024)),
        (["--none"], None),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_copies_are_ordered(live: AdminServer, capsys, arguments: list[str], mirror: MirrorSettings | None) -> None:
    """Of all requests, unless a share is given; --none ends them."""
    done(live, capsys, "mirror", "m", *arguments)

    assert live.orders.orders == [RolloutRequest("m", "mirror", mirror=mirror, expected_generation=5)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "name either a VERSION, or --none"),
        (["8", "--none"], "name either a VERSION, or --none"),
        (["8", "--percent", "0"], "0 would copy nothing; --none ends the copies"),
        (["8", "--percent", "100.01"], "100.01 is not a percentage"),
        (["8", "--max-in-flight", "0"], "0 is not a number from 1 to 1024"),
        (["8", "--max-in-flight", "1025"], "1025 is not a number from 1 to 1024"),
        (["8", "--max-in-flight", "many"], "many is not a number from 1 to 1024"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_copies_that_make_no_sense_are_refused(live: AdminServer, capsys, arguments: list[str], reason: str) -> None:
    """With the reason, before a server is asked."""
    with pytest.raises(SystemExit) as ended:
        run(live, "mirror", "m", *arguments)

    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
    assert live.orders.orders == []
