"""Tests of the spans of HTTP requests: names, attributes, errors."""

from __future__ import annotations

import pytest

from core.rest.request_span import http_attributes, http_error, http_name, http_route


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/models/m:predict", "POST /v1/models/{model}:predict"),
        ("POST", "/v1/models/m/versions/3:Classify", "POST /v1/models/{model}/versions/{version}:classify"),
        ("POST", "/v1/models/m/labels/x:regress", "POST /v1/models/{model}/labels/{label}:regress"),
        ("GET", "/v1/models", "GET /v1/models"),
        ("GET", "/v1/models/m", "GET /v1/models/{model}"),
        ("GET", "/v1/models/m/labels/x/metadata", "GET /v1/models/{model}/labels/{label}/metadata"),
        ("POST", "/v1/models/m:explode", "POST"),
        ("DELETE", "/v1/models/m:predict", "DELETE"),
        ("BREW", "/v1/models/m:predict", "HTTP"),
    ],
)
def test_a_request_is_named_for_what_it_wants_and_not_for_its_model(method: str, path: str, name: str) -> None:
    """Names are few, so that a tool can group by them."""
    assert http_name(method, http_route(method, path)) == name


def test_an_unknown_method_gets_a_common_name() -> None:
    """OpenTelemetry prescribes it."""
    assert http_attributes("BREW", "https", "/v1/x", "") == {
        "http.request.method": "_OTHER",
        "http.request.method_original": "BREW",
        "url.scheme": "https",
        "url.path": "/v1/x",
    }


def test_a_request_of_the_api_has_a_route() -> None:
    """The path itself is there, too."""
    path = "/v1/models/m:predict"

    assert http_attributes("POST", "http", path, http_route("POST", path)) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/v1/models/m:predict",
        "http.route": "/v1/models/{model}:predict",
    }


@pytest.mark.parametrize(("status", "error"), [(200, ""), (400, ""), (499, ""), (500, "500"), (504, "504"), (None, "")])
def test_only_the_servers_own_errors_are_errors_of_its_span(status: int | None, error: str) -> None:
    """A client's mistake is an answer like others."""
    assert http_error(status) == error
