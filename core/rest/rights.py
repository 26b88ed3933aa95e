"""What a REST request needs: of TensorFlow Serving's API, and of the pages of the port.

Requests are read by the same functions that answer them. What is not known here needs the right to everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from core.access.rights import HEALTH, INFER, METADATA, STATES, STATUS, WHOLE_STATUS, Right
from core.errors import ServingError
from core.rest.path import Verb, is_api, parse_request

NO_RIGHT: Final[tuple[Right, ...]] = ()
OUTSIDE: Final[Mapping[str, tuple[Right, ...]]] = MappingProxyType(
    {
        "/healthz": NO_RIGHT,  # sibling routers find each other by it
        "/readyz": (HEALTH,),
        "/openapi.json": (METADATA,),
    }
)
CUT_PAGES: Final = frozenset({"/", "/models/", "/status.json"})
"""Pages that show what their caller may see."""
SCHEMA_PAGES: Final = frozenset({"/docs", "/docs/"})
"""The OpenAPI document for people."""
VERBS: Final = {Verb.METADATA: METADATA, Verb.STATUS: STATES}


def page_rights(path: str) -> tuple[Right, ...]:
    """Return what a page of the port needs; an operator may have put one where an API would be."""
    if path in SCHEMA_PAGES:
        return (METADATA,)
    return (STATUS if path in CUT_PAGES else WHOLE_STATUS,)


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
