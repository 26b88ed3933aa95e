"""Content codings of version 2's bodies: requests are unpacked, answers packed where their client takes that.

A large body is worked on in a thread: on the event loop it would delay all other requests.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from core.rest.content_coding import Coding, accepted_coding, content_coding, with_coding, without_coding
from core.rest.http_answer import HttpAnswer
from deployments.rest.asgi import Receive, Scope, header
from deployments.rest.body import SMALL_BODY_BYTES, received_body

SMALLEST_PACKED_BYTES: Final = 1024
"""A smaller body fits into a packet as it is."""
LARGEST_PACKED_AT_ONCE_BYTES: Final = 16 * 1024
"""A larger body is packed in a thread; this one takes less time than the way there and back."""
ACCEPT_ENCODING: Final = b"accept-encoding"
VARY: Final = (b"vary", b"Accept-Encoding")


async def unpacked_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read the whole body and undo its coding.

    Raises Unimplemented for an unknown coding, InvalidArgument for a body that cannot be unpacked, BodyTooLarge, and
    ClientGone.
    """
    coding = content_coding(header(scope, b"content-encoding"))
    body = await received_body(scope, receive, limit)
    if coding is Coding.IDENTITY:
        return body
    if len(body) <= SMALL_BODY_BYTES:
        return without_coding(body, coding)
    return await asyncio.to_thread(without_coding, body, coding)


def coding_for(answer: HttpAnswer, accepted: bytes) -> Coding:
    """Choose the coding of an answer; `accepted` is what its client takes, empty where it does not say."""
    return accepted_coding(accepted) if accepted and len(answer.body) >= SMALLEST_PACKED_BYTES else Coding.IDENTITY


def packed_answer(answer: HttpAnswer, coding: Coding) -> HttpAnswer:
    """Return an answer with its body packed; the length of its JSON stays that of the body before."""
    headers = (*answer.headers, (b"content-encoding", coding.value.encode()), VARY)
    return replace(answer, body=with_coding(answer.body, coding), headers=headers)


async def in_coding(answer: HttpAnswer, coding: Coding) -> HttpAnswer:
    """Return an answer in a coding."""
    if coding is Coding.IDENTITY:
        return answer
    if len(answer.body) <= LARGEST_PACKED_AT_ONCE_BYTES:
        return packed_answer(answer, coding)
    return await asyncio.to_thread(packed_answer, answer, coding)
