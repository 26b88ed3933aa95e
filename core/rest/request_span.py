"""The span of an HTTP request: its name, its attributes, and whether it is an error."""

from __future__ import annotations

from typing import Final

from core.rest.path import INFERENCE, QUERY
from core.telemetry.spans import Value

KNOWN_METHODS: Final = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"})


def http_attributes(method: str, scheme: str, path: str, route: str) -> dict[str, Value]:
    """Return the attributes of an HTTP request to an API; `route` is empty where its path matches no pattern."""
    known = method if method in KNOWN_METHODS else "_OTHER"
    attributes: dict[str, Value] = {"http.request.method": known, "url.scheme": scheme, "url.path": path}
    if known != method:
        attributes["http.request.method_original"] = method
    if route:
        attributes["http.route"] = route
    return attributes


def http_name(method: str, route: str) -> str:
    """Return the name of an HTTP request's span, the same for all models."""
    known = method if method in KNOWN_METHODS else "HTTP"
    return f"{known} {route}".rstrip()


def http_route(method: str, path: str) -> str:
    """Return the route pattern that a path of the API matches; empty when it matches none."""
    found = {"POST": INFERENCE, "GET": QUERY}.get(method, INFERENCE).fullmatch(path)
    if found is None or method not in {"POST", "GET"}:
        return ""
    model, version, label, what = found.groups()
    names = [
        "/v1/models",
        "/{model}" if model is not None else "",
        "/versions/{version}" if version is not None else "",
        "/labels/{label}" if label is not None else "",
    ]
    end = f":{what.lower()}" if method == "POST" else f"/{what.lower()}" if what is not None else ""
    return "".join(names) + end


def http_error(status: int | None) -> str:
    """Return the error of a server span; a client's mistake (4xx) is not an error of the server."""
    return str(status) if status is not None and status >= 500 else ""
