"""An inference request of version 2 on the short way of the REST port."""

from __future__ import annotations

import time

from core.errors import ServingError
from core.oip.rest_body import JSON_LENGTH_HEADER, LENGTH_BYTES, footer, json_length
from core.routing.transport import Answer, Call
from deployments.oip.http_answers import infer_answer
from deployments.rest.short_request import ShortConnection, ShortRequest, Wanted
from deployments.routing.request_router import RequestRouter

INFER = "infer"
_LENGTH_HEADER = JSON_LENGTH_HEADER.lower().encode()


class ShortInfer(ShortRequest):
    """One request whose body may have raw tensors behind its JSON."""

    __slots__ = ("_length",)
    room_bytes = LENGTH_BYTES

    def __init__(self, protocol: ShortConnection, router: RequestRouter, wanted: Wanted) -> None:
        super().__init__(protocol, router, wanted)
        self._length = next((value for name, value in protocol.headers if name == _LENGTH_HEADER), b"")

    def begin(self, timeout_s: float | None) -> bool:
        """Send the call; False if that is not possible now, and nothing has happened."""
        try:
            length = json_length(self._length, len(self.body))
        except ServingError:
            return False
        body = self.taken()
        body += footer(length)
        call = Call(self._wanted.method, body, timeout_s, tensor_at=max(0, length))
        return self.send(self._wanted.request, call, time.perf_counter())

    def ended(self, answer: Answer) -> None:
        self._protocol.answered(self, infer_answer(answer))
