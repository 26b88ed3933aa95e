"""Tests of calls over Serve's handles: arguments, answers, and Ray's failures as errors of ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from core.errors import Code, DeadlineExceeded, Unavailable
from core.routing.table import Route
from core.routing.transport import Answer, Call, Method
from core.telemetry.trace_context import TraceContext, pack
from core.versions.servable import ServableId
from deployments.routing import handle_transport
from deployments.routing.handle_transport import HandleTransport

ROUTE = Route.of(ServableId("m", 1))
TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


class Handle:
    """Serve's handle of one application."""

    def __init__(self, answer: tuple[int, bytes] | Exception | None = (0, b"answer")) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []
        self.is_shut_down = False
        self.call = self

    async def remote(self, *arguments: Any) -> tuple[int, bytes]:
        """Answer, fail, or hang."""
        self.calls.append(arguments)
        if self.answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def shutdown_async(self) -> None:
        """Note it."""
        self.is_shut_down = True


def transport_over(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> HandleTransport:
    """Return a transport whose only handle is this one."""
    monkeypatch.setattr(handle_transport, "DeploymentHandle", lambda deployment, app: handle)
    return HandleTransport()


@pytest.mark.parametrize(("trace", "more"), [(None, ()), (TRACE, (pack(TRACE),))], ids=["untraced", "traced"])
async def test_a_call_is_passed_as_plain_values(
    trace: TraceContext | None, more: tuple[bytes, ...], monkeypatch
) -> None:
    """So that routers and model servers of different releases understand each other."""
    handle = Handle()

    answer = await transport_over(handle, monkeypatch).call(ROUTE, Call(Method.PREDICT, b"body", 1.5, trace))

    assert answer == Answer(Code.OK, b"answer")
    assert handle.calls == [(int(Method.PREDICT), b"body", 1.5, *more)]


async def test_a_hosted_version_is_called_by_its_host(monkeypatch) -> None:
    """With its name, because the host has other versions too."""
    handle = Handle()
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(handle_transport, "DeploymentHandle", lambda *names: asked.append(names) or handle)

    await HandleTransport().call(Route.of(ServableId("m", 1), "host@n"), Call(Method.PREDICT, b"body", 1.5, TRACE))

    assert asked == [("VersionHost", "host@n")]
    assert handle.calls == [("m:1", int(Method.PREDICT), b"body", 1.5, pack(TRACE))]


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (BackPressureError(1, 1), "The queue of m:1 is full"),
        (RayActorError(), "No replica of m:1 could answer"),
        (DeploymentUnavailableError("d"), "No replica of m:1 could answer"),
        (RayTaskError("f", "traceback", ValueError("odd")), "A replica of m:1 failed: odd"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_failure_of_ray_is_unavailable(failure: Exception, text: str, monkeypatch) -> None:
    """Clients may repeat the call; none of them sees a class of Ray."""
    transport = transport_over(Handle(failure), monkeypatch)

    with pytest.raises(Unavailable) as caught:
        await transport.call(ROUTE, Call(Method.PREDICT, b""))

    assert text.replace("m:1", str(ROUTE.servable)) in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0.01, None])
async def test_a_call_that_hangs_ends(timeout_s: float | None, monkeypatch) -> None:
    """At its deadline; without one after a long time, because calls to an application that is deleted never end."""
    monkeypatch.setattr(handle_transport, "LONGEST_HANDLE_CALL_S", 0.01)

    with pytest.raises(DeadlineExceeded, match="Timed out waiting for notification"):
        await transport_over(Handle(None), monkeypatch).call(ROUTE, Call(Method.PREDICT, b"", timeout_s))


async def test_a_handle_is_kept_until_its_application_is_forgotten(monkeypatch) -> None:
    """Making one takes milliseconds."""
    made: list[str] = []
    handle = Handle()
    monkeypatch.setattr(handle_transport, "DeploymentHandle", lambda deployment, app: made.append(app) or handle)
    transport = HandleTransport()
    for _ in range(3):
        await transport.call(ROUTE, Call(Method.PREDICT, b""))
    assert (made, handle.is_shut_down) == (["m:1"], False)

    await transport.forget("m:1")
    await transport.forget("m:1")
    transport.handle("m:1")

    assert (made, handle.is_shut_down) == (["m:1"] * 2, True)
