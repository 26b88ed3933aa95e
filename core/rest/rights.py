"""What a REST request needs: of TensorFlow Serving's API, and of the paths beside it. Pages carry their rights.

Requests are read by the same functions that answer them. What is not known here needs the right to everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from core.access.rights import HEALTH, INFER, METADATA, STATES, WHOLE_STATUS, Right
from core.errors import ServingError
from core.rest.http_answer import HttpAnswer
from core.rest.path import Verb, is_api, parse_request

NO_RIGHT: Final[tuple[Right, ...]] = ()
OUTSIDE: Final[Mapping[str, tuple[Right, ...]]] = MappingProxyType(
    {
        "/healthz": NO_RIGHT,  # sibling routers find each other by it
        "/readyz": (HEALTH,),
        "/openapi.json": (METADATA,),
    }
)
VERBS: Final = {Verb.METADATA: METADATA, Verb.STATUS: STATES}


Page = Callable[[str, str], Awaitable[HttpAnswer]]
"""Answers a method and a target; for pages outside the API."""


class PlacedPage(NamedTuple):
    """A page, and what its readers need; `is_folder`: it answers for all paths below its own, which ends in a slash.

    `is_root`: clients that take no HTML are told there that the server lives.
    """

    answer: Page
    right: Right = WHOLE_STATUS
    is_folder: bool = False
    is_root: bool = False


def rest_rights(method: str, target: str) -> tuple[Right, ...]:
    """Return what a request needs; nothing where its answer depends on its first line alone.

    Such are preflights, which browsers send without credentials, and requests that cannot be read.
    """
    if not is_api(target):
        return OUTSIDE.get(path_in(target), (WHOLE_STATUS,))
    if method == "OPTIONS":
        return NO_RIGHT
    try:
        request = parse_request(method, target)
    except ServingError:
        return NO_RIGHT
    if request.verb is Verb.LIST:
        return (STATES,)
    return (VERBS.get(request.verb, INFER).of(request.name),)


def path_in(target: str) -> str:
    """Return the path of a target, without query and fragment."""
    return target.partition("#")[0].partition("?")[0]
