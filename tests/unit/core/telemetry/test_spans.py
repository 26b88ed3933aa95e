"""What spans are called, and what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.rest.request_span import http_attributes, http_error, http_name
from core.telemetry.spans import LONGEST_VALUE, cleaned, code_error, grpc_attributes, rows_in


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
    assert http_name(method, path) == name


def test_an_unknown_method_is_told_apart() -> None:
    """As OpenTelemetry wants it."""
    assert http_attributes("BREW", "https", "/v1/x") == {
        "http.request.method": "_OTHER",
        "http.request.method_original": "BREW",
        "url.scheme": "https",
        "url.path": "/v1/x",
    }


def test_a_request_of_the_api_has_a_route() -> None:
    """The path itself is there, too."""
    assert http_attributes("POST", "http", "/v1/models/m:predict") == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/v1/models/m:predict",
        "http.route": "/v1/models/{model}:predict",
    }


def test_a_call_is_named_as_opentelemetry_does() -> None:
    """Service and method apart."""
    assert grpc_attributes("s", "m") == {"rpc.system": "grpc", "rpc.service": "s", "rpc.method": "m"}


@pytest.mark.parametrize(("status", "error"), [(200, ""), (400, ""), (499, ""), (500, "500"), (504, "504"), (None, "")])
def test_only_the_servers_own_errors_are_errors_of_its_span(status: int | None, error: str) -> None:
    """A client's mistake is an answer like others."""
    assert http_error(status) == error


@pytest.mark.parametrize(
    ("code", "error"),
    [(Code.OK, ""), (Code.NOT_FOUND, ""), (Code.CANCELLED, ""), (Code.INTERNAL, "INTERNAL"), (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")],
)  # fmt: skip
def test_so_it_is_with_codes(code: Code, error: str) -> None:
    """The codes that OpenTelemetry names."""
    assert code_error(code) == error


@pytest.mark.parametrize(
    ("feeds", "rows"), [({}, 0), ({"a": np.float32(1).reshape(())}, 0), ({"a": np.zeros((3, 2)), "b": np.zeros(9)}, 3)]
)
def test_rows_are_those_of_the_first_input(feeds: dict[str, np.ndarray], rows: int) -> None:
    """Where there are rows at all."""
    assert rows_in(feeds) == rows


@given(st.one_of(st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")), st.text(st.characters())))
def test_any_path_can_be_sent(path: str) -> None:
    """What is no UTF-8 is shown as such, and there is an end to it."""
    value = cleaned({"url.path": path * 300, "n": 3})

    assert len(str(value["url.path"]).encode("utf-8")) <= LONGEST_VALUE * 4
    assert value["n"] == 3
