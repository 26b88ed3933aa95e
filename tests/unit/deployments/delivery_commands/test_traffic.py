"""`ray_model_server traffic`: shares of versions."""

from __future__ import annotations

import pytest

from core.admin.delivery_messages import RolloutRequest
from tests.support.admin_server import AdminServer
from tests.support.commands import done, run


@pytest.mark.parametrize(
    ("arguments", "shares"),
    [
        (["7=90", "8=10"], (("7", 9_000), ("8", 1_000))),
        (["stable=99.5", "canary=0.5"], (("stable", 9_950), ("canary", 50))),
        (["7=33.33", "8=33.33", "9=33.34"], (("7", 3_333), ("8", 3_333), ("9", 3_334))),
        (["7=100%"], (("7", 10_000),)),
        (["a=b=100"], (("a=b", 10_000),)),
        (["--none"], ()),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_shares_are_sent_in_basis_points(
    live: AdminServer, capsys, arguments: list[str], shares: tuple[tuple[str, int], ...]
) -> None:
    """The first is stable; labels are names."""
    done(live, capsys, "traffic", "m", *arguments)

    assert live.orders.orders == [RolloutRequest("m", "traffic", traffic=shares, expected_generation=5)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["7=90", "8=9.99"], "the shares add up to 99.99 %, and not to 100 %"),
        (["7=90", "8=20"], "the shares add up to 110 %"),
        (["7=50", "7=50"], "7 is given twice"),
        (["7=99.999", "8=0.001"], "99.999 is not a percentage"),
        (["7=-1", "8=101"], "-1 is not a percentage"),
        (["7=1e2"], "1e2 is not a percentage"),
        (["7=٩٠", "8=10"], "is not a percentage"),
        (["7=nan"], "nan is not a percentage"),
        (["7=1000"], "1000 is not a percentage"),
        (["7"], "7 is not VERSION=PERCENT"),
        (["=100"], "=100 is not VERSION=PERCENT"),
        (["\udcff=100"], "is not UTF-8"),
        ([], "name either shares such as 7=90 8=10, or --none"),
        (["7=100", "--none"], "name either shares such as 7=90 8=10, or --none"),
    ],
    ids=lambda one: ascii(" ".join(one)) if isinstance(one, list) else "",
)
def test_shares_that_make_no_sense_are_refused(live: AdminServer, capsys, arguments: list[str], reason: str) -> None:
    """With the reason, before a server is asked."""
    with pytest.raises(SystemExit) as ended:
        run(live, "traffic", "m", *arguments)

    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
    assert live.orders.orders == []
