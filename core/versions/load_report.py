"""Carries the error of a failed load through Serve's status text, which is all that remains of a dead replica.

The replica also says whether another attempt could succeed, because only it knows at which step the load failed.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from types import MappingProxyType

from core.errors import Code, ServingError
from core.versions.record import Failure

LONGEST_MESSAGE = 2000
MARK = re.compile(r"\[load-failure (\{.*?\})\]", re.DOTALL)


class LoadStep(enum.Enum):
    """The steps of a load."""

    FILES = "the version's files come to the node"
    GRAPH = "the platform loads them"
    WARM_UP = "the version's own requests are answered"


OF_CONTENT = frozenset({Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.DATA_LOSS, Code.OUT_OF_RANGE})
"""Codes that say that the content of a file is wrong."""

PERMANENT_CODES: Mapping[LoadStep, frozenset[Code]] = MappingProxyType(
    {
        LoadStep.FILES: frozenset(),  # a store may have delivered them badly; it is asked again
        LoadStep.GRAPH: OF_CONTENT,
        LoadStep.WARM_UP: OF_CONTENT | {Code.NOT_FOUND, Code.FAILED_PRECONDITION},
    }
)

PERMANENTLY_MISSING = (
    "Op type not registered",
    "Could not find meta graph def matching supplied tags",
    "Could not find SavedModel .pb",
    "does not appear to contain a SavedModel bundle",
    "has no graph with the tags",
    "The model has variables, but the file that lists them is missing",
    "not found in checkpoint",
)
"""Texts of NOT_FOUND, TensorFlow's and ours, about the content; others may come of a file system that is late."""

UNFIT_LIBRARY = "cannot be used as a library of TensorFlow operations"
"""In the text of a FAILED_PRECONDITION: a library of operations that is there, and does not fit."""


def is_permanent(step: LoadStep, code: Code, message: str) -> bool:
    """Whether a load fails again for as long as the version's files and the libraries it uses stay as they are."""
    if code in PERMANENT_CODES[step]:
        return True
    if step is not LoadStep.GRAPH:
        return False
    if code is Code.FAILED_PRECONDITION:
        return UNFIT_LIBRARY in message
    return code is Code.NOT_FOUND and any(text in message for text in PERMANENTLY_MISSING)


class LoadFailed(ServingError):
    """A version could not be loaded; its text carries what `failure_in` finds in Serve's status."""

    def __init__(self, code: Code, message: str, is_permanent: bool = False) -> None:  # noqa: FBT001, FBT002 - pickled
        Exception.__init__(self, code, message, is_permanent)
        self.code = code

    def __str__(self) -> str:
        code, message, permanent = self.args
        known = {"code": int(code), "message": message[:LONGEST_MESSAGE], **({"permanent": True} if permanent else {})}
        report = json.dumps(known).replace("]", "\\u005d")
        return f"[load-failure {report}]"


def out_of_space(status_text: str, full_disk: str) -> str:
    """Return the text of a failed application for a machine whose disk is full, as `full_disk` says.

    A process that cannot open its log ends before it could say why, and Ray guesses other reasons.
    """
    if not full_disk or MARK.search(status_text) is not None:
        return status_text
    return str(LoadFailed(Code.RESOURCE_EXHAUSTED, full_disk))


def failure_in(status_text: str) -> Failure:
    """Return the error in the text that Serve shows for a failed application.

    Without a mark the replica died before it could say why (killed, out of memory): the text itself is the message.
    """
    found = MARK.search(status_text)
    if found is None:
        last_line = status_text.strip().rpartition("\n")[2][:LONGEST_MESSAGE]
        return Failure(Code.UNAVAILABLE, f"The loading process ended without an answer: {last_line}")
    try:
        report = json.loads(found.group(1))
        return Failure(Code(report["code"]), str(report["message"]), report.get("permanent") is True)
    except (ValueError, KeyError, TypeError):
        return Failure(Code.UNKNOWN, found.group(1)[:LONGEST_MESSAGE])
