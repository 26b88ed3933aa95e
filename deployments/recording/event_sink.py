"""An HTTP sink of events: POSTs, each with a limit of its time, over connections that are kept.

The one module that sends requests of our own over HTTP to a place that an operator names, so that it bounds what comes
back: no redirects, no cookies, no proxies of the environment, no unpacking, and of an answer's body only its beginning.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import aiohttp

from core.errors import FailedPrecondition
from core.events.delivery import Outcome, outcome, retry_after_s
from core.events.http_messages import HttpMessage
from core.events.settings import EventSettings
from core.telemetry.redaction import without_secrets

LONGEST_ANSWER_BYTES: Final = 64 * 1024
LONGEST_REASON: Final = 200
USER_AGENT: Final = "ray-model-server"


@dataclass(frozen=True, slots=True)
class SinkReply:
    """What became of one request: the outcome, the reason for a bad one, and the seconds that the sink asks for."""

    outcome: Outcome
    reason: str = ""
    asked_s: float = 0.0


class EventSink(Protocol):
    """Takes events; called by one thread."""

    def post_all(self, messages: Sequence[HttpMessage], timeout_s: float) -> list[SinkReply]:
        """Send all at the same time, and wait for so many seconds at most; never raises."""
        ...

    def end_within(self, timeout_s: float) -> None:
        """Let a `post_all` that runs now wait for so many seconds at most; called by another thread."""
        ...

    def close(self) -> None:
        """Close the connections."""


class HttpSink:
    """A sink at a URL; raises FailedPrecondition when a file or variable of its settings cannot be used."""

    def __init__(self, url: str, settings: EventSettings) -> None:
        self._url = url
        self._settings = settings
        self._tls: ssl.SSLContext | bool = True
        try:
            if settings.ca_file:
                self._tls = ssl.create_default_context(cafile=settings.ca_file)
            self._authorization()
        except (OSError, ValueError) as error:
            raise FailedPrecondition(f"The events cannot be sent: {error}") from None
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._limits: set[asyncio.Timeout] = set()

    def _authorization(self) -> dict[str, str]:
        """Return the header that says who sends; raises OSError and ValueError, whose texts do not show it."""
        settings = self._settings
        if settings.authorization_env:
            value = os.environ.get(settings.authorization_env, "")
        elif settings.authorization_file:
            with open(settings.authorization_file, encoding="utf-8", errors="replace") as file:
                value = file.read(LONGEST_ANSWER_BYTES)
        else:
            return {}
        value = value.strip()
        if not value or not value.isascii() or not value.isprintable():
            where = settings.authorization_env or settings.authorization_file
            raise ValueError(f"{where} does not hold the value of a header")
        return {"authorization": value}

    def post_all(self, messages: Sequence[HttpMessage], timeout_s: float) -> list[SinkReply]:
        """Send all at the same time."""
        return self._loop.run_until_complete(self._posted(messages, timeout_s))

    def end_within(self, timeout_s: float) -> None:
        """Shorten what is left of the requests that are on their way."""
        ends_at_s = self._loop.time() + timeout_s
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._shorten, ends_at_s)

    def _shorten(self, ends_at_s: float) -> None:
        for limit in self._limits:
            if not limit.expired() and (limit.when() or 0.0) > ends_at_s:
                limit.reschedule(ends_at_s)

    async def _posted(self, messages: Sequence[HttpMessage], timeout_s: float) -> list[SinkReply]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"user-agent": USER_AGENT},
            )
        return await asyncio.gather(*(self._post(self._session, one, timeout_s) for one in messages))

    async def _post(self, session: aiohttp.ClientSession, message: HttpMessage, timeout_s: float) -> SinkReply:
        said: Outcome | None = None
        limit = asyncio.timeout(timeout_s)
        self._limits.add(limit)
        try:
            headers = {**message.headers, **self._authorization()}
            async with (
                limit,
                session.post(self._url, data=message.body, headers=headers, allow_redirects=False) as answer,
            ):
                said = outcome(answer.status)
                return await _reply(answer, said)
        except TimeoutError:
            if said is not None:  # the sink has decided; only its words are late
                return SinkReply(said, "its answer was not complete in time")
            return SinkReply(Outcome.AGAIN, f"no answer within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return SinkReply(Outcome.AGAIN, _short(f"{type(error).__name__}: {error}"))
        finally:
            self._limits.discard(limit)

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._loop.run_until_complete(self._session.close())
        self._loop.close()


async def _reply(answer: aiohttp.ClientResponse, said: Outcome) -> SinkReply:
    """Read the beginning of an answer; its status counts, also when the rest of it is broken."""
    try:
        beginning = await answer.content.read(LONGEST_ANSWER_BYTES)
        if not answer.content.at_eof():
            answer.close()
    except (aiohttp.ClientError, OSError):
        beginning = b""
    if said is Outcome.SENT:
        return SinkReply(said)
    asked_s = retry_after_s(answer.headers.get("retry-after", ""), datetime.now(UTC))
    return SinkReply(said, _short(f"{answer.status} {beginning.decode('utf-8', 'replace')}"), asked_s)


def _short(text: str) -> str:
    """Return the printable beginning of a text from outside, without secrets."""
    shown = "".join(one if one.isprintable() else " " for one in text[:LONGEST_REASON])
    return without_secrets(shown.strip())
