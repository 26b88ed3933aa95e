"""What went wrong in Python code of a model: the place in its own files, and the error."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Final

LONGEST_FAULT: Final = 600
"""Characters of an error's own text that are told; libraries put whole arrays into theirs."""


def fault_text(error: BaseException, folder: str) -> str:
    """Return file, line and error: those of the innermost call in `folder`, else of the innermost of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    place = _innermost([one for one in frames if one.filename.startswith(folder)]) or _innermost(frames)
    return f"{place}: {error_text(error)}" if place else error_text(error)


def error_text(error: BaseException) -> str:
    """Return the type and text of an error."""
    text = own_text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def own_text(error: BaseException) -> str:
    """Return the text of an error; raises nothing, whatever the error's own methods do."""
    try:
        return str(error)[:LONGEST_FAULT]
    except Exception:  # noqa: BLE001 -- the code of a model wrote it
        return "(its text cannot be had)"


def _innermost(frames: Sequence[traceback.FrameSummary]) -> str:
    return f"{frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name}" if frames else ""
