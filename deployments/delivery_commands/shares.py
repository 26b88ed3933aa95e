"""Shares of requests as people write them at the terminal: percent with two decimals at most."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Final

from core.delivery.split import WHOLE
from deployments.commands.arguments import name

PERCENT: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?%?")


def percent_share(text: str) -> int:
    """Parse a percentage into basis points."""
    found = PERCENT.fullmatch(text) if text.isascii() else None
    share = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found is not None else WHOLE + 1
    if share > WHOLE:
        raise argparse.ArgumentTypeError(f"{text} is not a percentage from 0 to 100 with two decimals at most")
    return share


def version_share(text: str) -> tuple[str, int]:
    """Parse VERSION=PERCENT; the version may be a label."""
    version, equals, percent = text.rpartition("=")
    if not equals or not version:
        raise argparse.ArgumentTypeError(f"{text} is not VERSION=PERCENT, such as 7=90")
    return name(version), percent_share(percent)


def problem_of(shares: Sequence[tuple[str, int]]) -> str:
    """Return what is wrong with the shares of an order, empty where nothing is."""
    versions = [version for version, _ in shares]
    twice = sorted({one for one in versions if versions.count(one) > 1})
    if twice:
        return f"{twice[0]} is given twice"
    total = sum(share for _, share in shares)
    return "" if total == WHOLE else f"the shares add up to {total / 100:g} %, and not to 100 %"
