"""Answers of version 2 over HTTP: errors in its form, and a model server's answers with or without raw tensors."""

from __future__ import annotations

from typing import Any, Final

import orjson

from core.errors import HTTP_STATUS, Code, ServingError
from core.oip.rest_body import JSON_LENGTH_HEADER, split_body
from core.rest.http_answer import JSON, HttpAnswer
from core.routing.transport import Answer

OCTETS: Final = (b"content-type", b"application/octet-stream")
UNAVAILABLE: Final = 503
RETRY: Final = (b"retry-after", b"1")


def json_document(content: Any, status: int = 200) -> HttpAnswer:
    """Return a JSON answer."""
    return HttpAnswer(status, orjson.dumps(content))


def refusal(error: ServingError) -> HttpAnswer:
    """Return the answer for an error."""
    return _error(error.code, str(error))


def infer_answer(answer: Answer) -> HttpAnswer:
    """Return the response for a model server's answer to an inference request, whose body has a footer."""
    if answer.code is not Code.OK:
        return _error(answer.code, answer.text)
    body = split_body(answer.body)
    if not body.raw:
        return HttpAnswer(200, bytes(body.json))
    header = (JSON_LENGTH_HEADER.encode(), b"%d" % len(body.json))
    return HttpAnswer(200, bytes(body.json) + bytes(body.raw), (OCTETS, header))


def _error(code: Code, text: str) -> HttpAnswer:
    status = HTTP_STATUS.get(code, 500)
    headers = (JSON, RETRY) if status == UNAVAILABLE else (JSON,)
    body = orjson.dumps({"error": text.encode("utf-8", "replace").decode()})
    return HttpAnswer(status, body, headers, code)
