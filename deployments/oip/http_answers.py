"""Answers of version 2 over HTTP: errors in its form, and a model server's answers with or without raw tensors."""

from __future__ import annotations

from typing import Any, Final

from core.errors import HTTP_STATUS, Code, ServingError
from core.oip.metadata import json_text
from core.oip.path import WrongMethod
from core.oip.rest_body import ALL_JSON, JSON_LENGTH_HEADER, cut_footer
from core.rest.http_answer import JSON, REASONS, Header, HttpAnswer, retry_headers
from core.routing.transport import Answer
from deployments.rest.body import BodyTooLarge

OCTETS: Final = (b"content-type", b"application/octet-stream")
UNAVAILABLE: Final = 503
CLOSE: Final = (b"connection", b"close")
LENGTH_HEADER: Final = JSON_LENGTH_HEADER.lower().encode()
_EXPOSED: Final = (b"access-control-expose-headers", JSON_LENGTH_HEADER.encode())
_ALLOWED: Final = (b"access-control-allow-headers", b"Inference-Header-Content-Length, Content-Encoding")


def json_document(content: Any, status: int = 200, code: Code = Code.OK, retry_after_s: float = 0.0) -> HttpAnswer:
    """Return a JSON answer."""
    again = retry_headers(Code.UNAVAILABLE if status == UNAVAILABLE else code, retry_after_s)
    return HttpAnswer(status, json_text(content), (JSON, *again), code)


def refusal(error: ServingError) -> HttpAnswer:
    """Return the answer for an error."""
    answer = failure(error.code, str(error), error.retry_after_s)
    if isinstance(error, WrongMethod):
        return HttpAnswer(405, answer.body, (JSON, (b"allow", error.allowed.encode())), error.code)
    if isinstance(error, BodyTooLarge):
        return HttpAnswer(413, answer.body, (JSON, CLOSE), error.code)
    return answer


def failure(code: Code, text: str, retry_after_s: float = 0.0) -> HttpAnswer:
    """Return the answer for a failure with this code."""
    return json_document({"error": text}, HTTP_STATUS.get(code, 500), code, retry_after_s)


def connection_refusal(status: int) -> HttpAnswer:
    """Return the answer of the HTTP layer to what is not a request, after which its connection ends."""
    return HttpAnswer(status, json_text({"error": REASONS[status]}), (JSON, CLOSE))


def cors_preflight() -> HttpAnswer:
    """Answer a browser that asks which headers it may send, beyond those of TensorFlow Serving's API."""
    return HttpAnswer(200, b"", (JSON, _ALLOWED))


def metadata_response(answer: Answer) -> HttpAnswer:
    """Return the response for a model server's answer to a question for metadata."""
    if answer.code is not Code.OK:
        return failure(answer.code, answer.text, answer.retry_after_s)
    return HttpAnswer(200, answer.body)


def infer_answer(answer: Answer, *, cors: bool = False) -> HttpAnswer:
    """Return the response for a model server's answer to an inference request, whose body has a footer."""
    if answer.code is not Code.OK:
        return failure(answer.code, answer.text, answer.retry_after_s)
    body, json_bytes = cut_footer(answer.body)
    return tensors_answer(body, json_bytes, cors=cors)


def tensors_answer(body: bytes | bytearray | memoryview, json_bytes: int, *, cors: bool = False) -> HttpAnswer:
    """Return the response for a good answer and the length of its JSON.

    `cors`: the request may have come from a script of another origin, which then may read the length.
    """
    if json_bytes == ALL_JSON:
        return HttpAnswer(200, body)
    length: Header = (LENGTH_HEADER, b"%d" % json_bytes)
    return HttpAnswer(200, body, (OCTETS, length, _EXPOSED) if cors else (OCTETS, length))
