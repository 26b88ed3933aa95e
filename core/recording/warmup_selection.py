"""Selects warm-up requests for a version: named requests, and requests of a request log.

A request that a version cannot answer would fail its load, so every one is planned here as the version will plan it. A
request of a log that does not fit is left out; a named request that does not fit is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from core.config.server_settings import AnswerSettings
from core.errors import InvalidArgument, ServingError
from core.inference.signature import ServedModel
from core.methods import planners
from core.recording.rest_as_grpc import LoggedMessages, classify_messages, predict_messages, regress_messages
from core.recording.warmup_file import MOST_RECORDS, completed, recorded_call, replayed_call
from core.routing.transport import Call, Method

_FROM_REST: Final[Mapping[Method, Callable[[ServedModel, bytes], LoggedMessages]]] = MappingProxyType(
    {
        Method.PREDICT: predict_messages,
        Method.CLASSIFY: classify_messages,
        Method.REGRESS: regress_messages,
    }
)
_BLANKS: Final = b" \t\r"
"""What may stand before JSON; a line break is how most serialized messages begin."""


@dataclass(slots=True)
class LeftOut:
    """How many requests of logs were not taken: repeated ones, and those that cannot be replayed, with one reason."""

    repeated: int = 0
    unfit: int = 0
    example: str = ""


class WarmUpSelection:
    """Takes requests one by one until it has enough.

    Without a model, requests are taken as they are, and bodies of REST cannot be.
    """

    def __init__(
        self, model: ServedModel | None = None, *, limit: int = MOST_RECORDS, without_repetitions: bool = False
    ) -> None:
        self._model = model
        self._limit = limit
        self._without_repetitions = without_repetitions
        self._seen: set[bytes] = set()
        self.taken = 0
        self.left_out = LeftOut()

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken."""
        return self.taken >= self._limit

    def logged(self, record: bytes, path: str) -> bytes | None:
        """Return the warm-up record of a record of a log; None for one that is left out."""
        try:
            call = replayed_call(record, path)
            if call is not None:
                self._check(call)
        except ServingError as error:
            self.left_out.unfit += 1
            self.left_out.example = self.left_out.example or str(error)
            return None
        return None if call is None else self._take(call)

    def given(self, method: Method, body: bytes, path: str) -> bytes | None:
        """Return the warm-up record of a body of REST or a serialized message; None for a repetition.

        Raises InvalidArgument for one that the version could not answer.
        """
        try:
            call = self._call(method, body)
            self._check(call)
        except ServingError as error:
            raise InvalidArgument(f"{path}: {error}") from None
        return self._take(call)

    def _call(self, method: Method, body: bytes) -> Call:
        if not body:
            raise InvalidArgument("The file is empty.")
        if not body.lstrip(_BLANKS).startswith(b"{"):
            return completed(method, body)
        if method not in _FROM_REST:
            raise InvalidArgument("This method has no JSON form.")
        if self._model is None:
            raise InvalidArgument("JSON can only be read with the model's signature.")
        return Call(method, _FROM_REST[method](self._model, body).request)

    def _check(self, call: Call) -> None:
        if self._model is not None:
            planners(AnswerSettings())[call.method](self._model, bytes(call.body))

    def _take(self, call: Call) -> bytes | None:
        record = recorded_call(call)
        if self._without_repetitions:
            digest = hashlib.sha256(record).digest()
            if digest in self._seen:
                self.left_out.repeated += 1
                return None
            self._seen.add(digest)
        self.taken += 1
        return record
