"""An inference request of version 2 on the short way of the REST port."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from core.errors import Code, ServingError
from core.oip.rest_body import ALL_JSON, LENGTH_BYTES, cut_footer, footer, json_length
from core.rest.content_coding import Coding
from core.rest.http_answer import HttpAnswer, of_version
from core.routing.transport import Answer, Call
from deployments.oip.http_answers import LENGTH_HEADER, failure, tensors_answer
from deployments.oip.http_coding import (
    ACCEPT_ENCODING,
    LARGEST_PACKED_AT_ONCE_BYTES,
    SMALLEST_PACKED_BYTES,
    coding_for,
    in_coding,
    packed_answer,
)
from deployments.rest.short_request import ShortConnection, ShortRequest, Wanted
from deployments.routing.request_router import RequestRouter

INFER: Final = "infer"
_ALL_JSON_FOOTER: Final = footer(ALL_JSON)


class ShortInfer(ShortRequest):
    """One request whose body may have raw tensors behind its JSON."""

    __slots__ = ("_accepted", "_cors", "_length", "_packing")
    room_bytes = LENGTH_BYTES

    def __init__(self, protocol: ShortConnection, router: RequestRouter, wanted: Wanted, *, cors: bool = False) -> None:
        super().__init__(protocol, router, wanted)
        self._cors = cors
        self._packing: asyncio.Task[None] | None = None
        self._length = self._accepted = b""
        for name, value in protocol.headers:
            if name == LENGTH_HEADER:
                self._length = self._length or value
            elif name == ACCEPT_ENCODING:
                self._accepted = self._accepted or value

    def begin(self, timeout_s: float | None) -> bool:
        """Send the call; False if that is not possible now, and nothing has happened."""
        length = ALL_JSON
        if self._length:
            try:
                length = json_length(self._length, len(self.body))
            except ServingError:
                return False
        body = self.taken()
        body += _ALL_JSON_FOOTER if length == ALL_JSON else footer(length)
        wanted = self._wanted
        call = Call(wanted.method, body, timeout_s, tensor_at=max(0, length))
        return self.send(wanted.request, call, time.perf_counter())

    def ended(self, answer: Answer) -> None:
        if answer.code is not Code.OK:
            self._write(failure(answer.code, answer.text, answer.retry_after_s))
            return
        body, json_bytes = cut_footer(answer.body)
        if json_bytes == ALL_JSON and (not self._accepted or len(body) < SMALLEST_PACKED_BYTES):
            self._protocol.succeeded(self, body)
        else:
            self._write(tensors_answer(body, json_bytes, cors=self._cors))

    def _write(self, given: HttpAnswer) -> None:
        response = of_version(given, self.version) if self.version else given
        coding = coding_for(response, self._accepted)
        if coding is Coding.IDENTITY:
            self._protocol.answered(self, response)
        else:
            self._pack(response, coding)

    def _pack(self, response: HttpAnswer, coding: Coding) -> None:
        if len(response.body) <= LARGEST_PACKED_AT_ONCE_BYTES:
            self._protocol.answered(self, packed_answer(response, coding))
            return
        self.response_complete = False  # it is not written yet, and a port that closes must wait for it
        self._packing = self._loop.create_task(self._packed_elsewhere(response, coding))

    async def _packed_elsewhere(self, response: HttpAnswer, coding: Coding) -> None:
        answer = await in_coding(response, coding)
        self.response_complete = True
        self._protocol.answered(self, answer)

    def withdraw(self) -> None:
        """Cancel the call, or the work on its answer: the client has gone."""
        if self._packing is not None:
            self._packing.cancel()
            self.gave_up()
        super().withdraw()
