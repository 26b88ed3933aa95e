"""Tests of the services on Serve's own gRPC proxy: which there are, and how its calls are answered."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from core.errors import Code
from deployments.app import add_services
from deployments.grpc.api import SERVICES
from deployments.grpc.serve_proxy import OWN_PORT_ONLY, PROXIED, Raw, set_status
from deployments.grpc.services import GrpcAnswer
from deployments.oip.grpc_rights import SERVICE as OIP_SERVICE
from deployments.oip.serve_proxy import OIP_METHODS, OipProxyMethods

OFFERED = [*(method for methods in PROXIED.values() for method in methods), *OIP_METHODS]


class Proxy:
    """Serve's proxy: keeps what is registered."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        """Take handlers."""
        self.handlers += handlers

    def handler(self, path: str) -> grpc.RpcMethodHandler | None:
        """Find a handler as gRPC does."""
        details = type("Details", (), {"method": path, "invocation_metadata": ()})()
        return next((found for one in self.handlers if (found := one.service(details)) is not None), None)


class Deployment(OipProxyMethods):
    """Notes the calls that it answers."""

    async def answer_proxy(self, method: str, request: bytes, grpc_context: Any) -> Raw:
        """Answer with what came."""
        return Raw(b"%b %b %b" % (method.encode(), request, grpc_context))


class Context:
    """Takes a status."""

    trailers: Sequence[tuple[str, str]] = ()

    def set_trailing_metadata(self, metadata: list[tuple[str, str]]) -> None:
        """Take the trailers, and add them as Serve does, which fails for a tuple."""
        self.trailers = [("request_id", "7")] + metadata  # noqa: RUF005

    def set_code(self, code: grpc.StatusCode) -> None:
        """Take the code."""
        self.code = code

    def set_details(self, details: str) -> None:
        """Take the text."""
        self.details = details


@pytest.mark.parametrize("method", OFFERED)
async def test_every_offered_method_is_answered_under_its_own_name(method: str) -> None:
    """Serve's proxy calls the deployment's method of the same name."""
    answer = await getattr(Deployment(), method)(b"raw", b"context")

    assert answer.SerializeToString() == b"%b raw context" % method.encode()


def test_no_other_method_can_be_called() -> None:
    """What is not registered has no public name either."""
    public = {name for name, _ in inspect.getmembers(OipProxyMethods, inspect.isfunction) if not name.startswith("_")}

    assert public == {*OFFERED, "answer_proxy"}


def test_services_are_registered_with_messages_as_bytes() -> None:
    """Those for operators and for sibling routers are on our own port only."""
    proxy = Proxy()

    add_services(object(), proxy)

    for service, methods in {**SERVICES, OIP_SERVICE: OIP_METHODS}.items():
        for method in methods:
            handler = proxy.handler(f"/{service}/{method}")
            assert (handler is None) == (service in OWN_PORT_ONLY)
            assert handler is None or (handler.request_deserializer, handler.response_serializer) == (None, None)


def test_an_error_is_set_on_the_context() -> None:
    """An exception would be logged as a failure of the router."""
    context = Context()

    set_status(context, GrpcAnswer(Code.NOT_FOUND, "no such model"))

    assert (context.code, context.details) == (grpc.StatusCode.NOT_FOUND, "no such model")
    assert context.trailers == ()


def test_a_refusal_says_on_the_context_when_to_try_again() -> None:
    """As on our own port."""
    context = Context()

    set_status(context, GrpcAnswer(Code.RESOURCE_EXHAUSTED, "too many", retry_after_s=1.5))

    assert context.trailers == [("request_id", "7"), ("grpc-retry-pushback-ms", "1500")]
