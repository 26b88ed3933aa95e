"""What a REST request needs."""

from __future__ import annotations

import pytest

from core.access.rights import HEALTH, INFER, METADATA, STATES, WHOLE_STATUS, Right
from core.rest.rights import rest_rights


@pytest.mark.parametrize(
    ("method", "target", "wanted"),
    [
        ("POST", "/v1/models/m:predict", (INFER.of("m"),)),
        ("POST", "/V1/models/m/versions/3:Classify", ()),
        ("POST", "/v1/models/m%2Fx/labels/a:regress", (INFER.of("m/x"),)),
        ("GET", "/v1/models/m/metadata", (METADATA.of("m"),)),
        ("GET", "/v1/models/m/versions/3/metadata", (METADATA.of("m"),)),
        ("GET", "/v1/models/m", (STATES.of("m"),)),
        ("GET", "/v1/models", (STATES,)),
        ("GET", "/v1/models/", ()),
        ("DELETE", "/v1/models/m", ()),
        ("OPTIONS", "/v1/models/m:predict", ()),
        ("OPTIONS", "/status.json", (WHOLE_STATUS,)),
        ("GET", "/healthz?x", ()),
        ("GET", "/readyz#x", (HEALTH,)),
        ("GET", "/openapi.json", (METADATA,)),
        ("GET", "/anything", (WHOLE_STATUS,)),
        ("GET", "", (WHOLE_STATUS,)),
    ],
)
def test_a_request_needs_the_right_of_what_it_asks_for(method: str, target: str, wanted: tuple[Right, ...]) -> None:
    """Nothing, where it only gets an error or the answer to a preflight; everything, where nobody knows it."""
    assert rest_rights(method, target) == wanted
