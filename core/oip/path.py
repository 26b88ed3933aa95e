"""Parses what a REST request of version 2 asks for, from its method and target alone."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote_to_bytes

from core.access.rights import HEALTH, INFER, METADATA, OWN_ADMIN, STATES, WHOLE_STATUS, Right
from core.errors import InvalidArgument, NotFound, ServingError
from core.oip.model_reference import ModelReference, model_reference

PREFIX: Final = "/v2"
MOST_PARAMETERS: Final = 100
_MODEL: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+)|/labels/([^/]+))?(?:/(infer|ready|stats|config))?")
_LOAD: Final = re.compile(r"/v2/repository(?:/([^/]+))?/models/([^/]+)/(load|unload)")
_INDEX: Final = re.compile(r"/v2/repository(?:/([^/]+))?/index")


class Operation(enum.Enum):
    """What version 2 of the REST API offers."""

    SERVER = "server"
    LIVE = "live"
    READY = "ready"
    MODELS = "models"
    METADATA = "metadata"
    MODEL_READY = "model_ready"
    INFER = "infer"
    CONFIG = "config"
    STATISTICS = "statistics"
    INDEX = "index"
    LOAD = "load"
    UNLOAD = "unload"


_PAGES: Final = {
    "/v2": Operation.SERVER,
    "/v2/": Operation.SERVER,
    "/v2/health/live": Operation.LIVE,
    "/v2/health/ready": Operation.READY,
    "/v2/models": Operation.MODELS,
    "/v2/models/stats": Operation.STATISTICS,
}
_PAGE_OF: Final = {operation: path for path, operation in _PAGES.items() if path != "/v2/"}
_OF_MODEL: Final = {
    None: Operation.METADATA,
    "infer": Operation.INFER,
    "ready": Operation.MODEL_READY,
    "stats": Operation.STATISTICS,
    "config": Operation.CONFIG,
}
_SUFFIXES: Final = {operation: f"/{what}" if what else "" for what, operation in _OF_MODEL.items()}
_POSTED: Final = frozenset({Operation.INFER, Operation.INDEX, Operation.LOAD, Operation.UNLOAD})


_RIGHTS: Final[Mapping[Operation, Right]] = {
    Operation.SERVER: METADATA,
    Operation.LIVE: HEALTH,
    Operation.READY: HEALTH,
    Operation.MODELS: STATES,
    Operation.METADATA: METADATA,
    Operation.MODEL_READY: HEALTH,
    Operation.INFER: INFER,
    Operation.CONFIG: METADATA,
    Operation.STATISTICS: WHOLE_STATUS,
    Operation.INDEX: STATES,
    Operation.LOAD: OWN_ADMIN,
    Operation.UNLOAD: OWN_ADMIN,
}


class WrongMethod(InvalidArgument):
    """The path exists, with another method; `allowed` is the value of the header that names those."""

    def __init__(self, allowed: str) -> None:
        super().__init__("Method Not Allowed")
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class OipRequest:
    """A request: what it wants, of which model (None where it names none), and the query of its target.

    `repository` is the one that a path of the model repository extension names, if it does.
    """

    operation: Operation
    model: ModelReference | None = None
    query: str = ""
    repository: str = ""

    @property
    def name(self) -> str:
        """The model's name; empty where none is named."""
        return "" if self.model is None else self.model.name

    @property
    def route(self) -> str:
        """The pattern of the path, the same for all models; for names of spans."""
        if self.operation in _PAGE_OF and self.model is None:
            return _PAGE_OF[self.operation]
        if self.operation in _SUFFIXES:
            return f"/v2/models/{{model}}{self._which_version}{_SUFFIXES[self.operation]}"
        start = "/v2/repository/{repository}" if self.repository else "/v2/repository"
        if self.operation is Operation.INDEX:
            return f"{start}/index"
        return f"{start}/models/{{model}}/{self.operation.value}"

    @property
    def _which_version(self) -> str:
        if self.model is None or (self.model.version is None and self.model.label is None):
            return ""
        return "/versions/{version}" if self.model.label is None else "/labels/{label}"

    def parameter(self, key: str) -> str:
        """Return a value of the query; empty where it is absent. Bytes that are not UTF-8 survive as surrogates.

        Raises InvalidArgument for a query of very many parameters.
        """
        try:
            values = parse_qs(self.query, errors="surrogateescape", max_num_fields=MOST_PARAMETERS)
        except ValueError:
            raise InvalidArgument(f"the query has more than {MOST_PARAMETERS} parameters") from None
        return values.get(key, [""])[-1]


def oip_rights(method: str, target: str) -> tuple[Right, ...]:
    """Return what a request needs; nothing for preflights, and for what cannot be read."""
    try:
        request = parse_oip_request(method, target)
    except ServingError:
        return ()
    right = _RIGHTS.get(request.operation, WHOLE_STATUS)
    return (right if request.model is None else right.of(request.model.name),)


def is_oip(target: str) -> bool:
    """Whether version 2 answers this target."""
    return target.startswith(PREFIX) and (len(target) == len(PREFIX) or target[len(PREFIX)] in "/?#")


def parse_oip_request(method: str, target: str) -> OipRequest:
    """Read a request; `target` is the path as sent, with `?query` where there is one.

    Raises NotFound for a path that does not exist, and WrongMethod.
    """
    path, _, query = target.partition("#")[0].partition("?")
    request = _of_path(path, query)
    allowed = ("POST",) if request.operation in _POSTED else ("GET", "HEAD")
    if method not in allowed:
        raise WrongMethod(", ".join(allowed))
    return request


def _of_path(path: str, query: str) -> OipRequest:
    page = _PAGES.get(path)
    if page is not None:
        return OipRequest(page, query=query)
    found = _MODEL.fullmatch(path)
    if found is not None:
        name, version, label, what = found.groups()
        return OipRequest(_OF_MODEL[what], _reference(name, version, label), query)
    found = _LOAD.fullmatch(path)
    if found is not None:
        repository, name, what = found.groups()
        return OipRequest(Operation(what), ModelReference(_decoded(name)), query, _decoded(repository or ""))
    found = _INDEX.fullmatch(path)
    if found is not None:
        return OipRequest(Operation.INDEX, query=query, repository=_decoded(found[1] or ""))
    raise NotFound("Not Found")


def _reference(name: str, version: str | None, label: str | None) -> ModelReference:
    """Read the part of a path that names the model; raises NotFound for a version that is not a number."""
    try:
        return model_reference(_decoded(name), _decoded(version or ""), None if label is None else _decoded(label))
    except InvalidArgument as error:
        raise NotFound(str(error)) from None


def _decoded(text: str) -> str:
    """Decode percent escapes; bytes that are not UTF-8 survive as surrogates."""
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
