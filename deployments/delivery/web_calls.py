"""Short calls to URLs of an operator's tools: gates of rollouts, and receivers of notices."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from types import MappingProxyType
from typing import Any, Final

from core.telemetry.redaction import without_secrets

ANSWERS_WITHIN_S = 5.0
LONGEST_ANSWER = 300
OK: Final = "200"
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An answer is that of the URL itself: another one has not been asked."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def web_answer(url: str, body: bytes | None = None, headers: Mapping[str, str] = NO_HEADERS) -> str:
    """Return the status of a GET, or of a POST of a body, as text; or why there is none. Waits some seconds."""
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        asked = urllib.request.Request(url, body, {"User-Agent": "ray-model-server", **headers})  # noqa: S310 - as set
        with opener.open(asked, timeout=ANSWERS_WITHIN_S) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)
    except (OSError, HTTPException, ValueError) as error:
        return without_secrets(f"{type(error).__name__}: {error}")[:LONGEST_ANSWER]
