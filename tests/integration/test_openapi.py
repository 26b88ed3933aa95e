"""A generator of requests, fed with our own description, against the running server."""

from __future__ import annotations

import http.client

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from core.openapi.document import document
from core.rest.path import LARGEST_VERSION
from deployments.rest.api import KNOWN_METHODS
from tests.integration.conftest import LiveServer
from tests.support.clients import RestClient

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)

schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_no_request_makes_the_server_fail(case: schemathesis.Case, server: LiveServer) -> None:
    """Whatever is sent to a described path, the answer is a described one and never a defect of the server."""
    if "model" in case.path_parameters:
        # What loads and unloads must not do so with the models of other tests.
        case.path_parameters["model"] = "nobody" if "/repository/" in case.path else "half_plus_two"
    base_url = f"http://127.0.0.1:{server.rest_port}"
    if case.method not in KNOWN_METHODS and not case.path.startswith("/v2"):
        # The generator tries methods that are not described; these are 501, as upstream.
        assert case.call(base_url=base_url).status_code == http.client.NOT_IMPLEMENTED
        return
    response = case.call(base_url=base_url)
    if response.status_code == http.client.BAD_REQUEST and not response.content:
        # TensorFlow Serving answers these two without a body: OPTIONS without an origin, and an impossible version.
        assert case.method == "OPTIONS" or int(case.path_parameters["version"]) > LARGEST_VERSION
        return
    case.validate_response(response, checks=CHECKS)


def test_the_description_is_served(client: RestClient) -> None:
    """Tools find it at /openapi.json."""
    reply = client.get("/openapi.json")

    assert reply.status == http.client.OK
    assert reply.json["paths"].keys() == document()["paths"].keys()
