"""Writes the page of a comparison: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import FailedPrecondition
from core.replay.replay_html import replay_page
from deployments.pages.asset_files import asset


def check_place(file: str) -> None:
    """Find out before the work whether a report can be written; raises FailedPrecondition."""
    folder = Path(file).absolute().parent
    if Path(file).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise FailedPrecondition(f"{file} cannot be written: {folder} is no folder where that is possible")


def write_report(file: str, document: Mapping[str, Any]) -> None:
    """Write the page of a document; raises FailedPrecondition."""
    target = Path(file).absolute()
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        aside.write_text(replay_page(document, asset("pages.css") + asset("replay.css")), encoding="utf-8")
        aside.replace(target)
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be written: {error.strerror}") from None
    finally:
        aside.unlink(missing_ok=True)
