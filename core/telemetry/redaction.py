"""Hides secrets in texts that leave the process: log lines, errors, the status document.

One rule for all of them, because the same base path or error text reaches each of these places. It hides userinfo of
URLs, bearer and basic credentials, access key ids of S3, and values with the name of a secret.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"

_SECRET_NAME: Final = re.compile(
    r"(?:^|[_-])(?:token|password|passwd|secret|authorization|cookie|credentials?|(?:access|private|api|secret)[_-]key)$",
    re.IGNORECASE,
)
_SECRET: Final = re.compile(
    r"(?P<userinfo>://)[^/?#\s\"']+(?=@)"
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"
    r"|(?P<named>(?:token|password|passwd|secret|signature|credential|sig|(?:access|private|api|account)[_-]?key)"
    r"[\"']?\s?[=:]\s?)[\"']?[^\s&;,\"')]+"
    r"|(?P<key_id>\b)(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Whether the value of a field of this name must never be shown."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(text: str) -> str:
    """Return a text with possible secrets replaced; applying it again changes nothing."""
    return _SECRET.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    """Return the mark behind the name or scheme of the secret, so that a reader sees what was hidden."""
    return f"{found[found.lastgroup or 0]}{HIDDEN}"
