"""Carries the error of a failed load through Serve's status text, which is all that remains of a dead replica."""

from __future__ import annotations

import json
import re

from core.errors import Code, ServingError
from core.versions.record import Failure

LONGEST_MESSAGE = 2000
MARK = re.compile(r"\[load-failure (\{.*?\})\]", re.DOTALL)


class LoadFailed(ServingError):
    """A version could not be loaded; its text carries code and message so that `failure_in` can find them."""

    def __init__(self, code: Code, message: str) -> None:
        Exception.__init__(self, code, message)
        self.code = code

    def __str__(self) -> str:
        code, message = self.args
        report = json.dumps({"code": int(code), "message": message[:LONGEST_MESSAGE]}).replace("]", "\\u005d")
        return f"[load-failure {report}]"


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
        return Failure(Code(report["code"]), str(report["message"]))
    except (ValueError, KeyError, TypeError):
        return Failure(Code.UNKNOWN, found.group(1)[:LONGEST_MESSAGE])
