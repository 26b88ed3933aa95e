"""The model server's spans: a call, its wait, its batch and its run, below the span that the router sent."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from core.config.model_config import BatchingParameters
from core.config.server_settings import AnswerSettings
from core.errors import Code, InvalidArgument, RuntimeFailure
from core.platforms.hooked_signature import HookContext, HookDeclaration
from core.platforms.platform import Loaded
from core.routing.direct_frames import HEADER, SCRATCH_BYTES, FrameKind, frame_header
from core.routing.transport import Answer, Call, Method
from core.telemetry.spans import (
    BATCH_PADDING,
    BATCH_REQUESTS,
    BATCH_ROWS,
    CODE,
    METHOD,
    MODEL,
    ROWS,
    SIGNATURE,
    TRANSPORT,
    VERSION,
    Span,
    SpanKind,
)
from core.telemetry.trace_context import TraceContext, pack
from core.versions.servable import ServableId
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.call_traces import CallTraces, TracedCalls
from deployments.inference.direct_server import Arrival
from deployments.platforms.hook_class import LoadedHooks
from deployments.platforms.hooked import with_hooks
from deployments.routing import direct_connection
from deployments.routing.awaited_call import call_over
from deployments.telemetry.run_steps import NOTED_STEPS, RunStep
from deployments.telemetry.tracing import Tracer
from tests.support.direct_sites import TOKEN, Run, Taker, connected, serving, until
from tests.support.fakes import FakeLoaded
from tests.support.hook_files import hook_spec
from tests.support.served_models import half_plus_two
from tests.support.span_collector import SpanList
from tests.unit.deployments.inference.test_batcher import directly

ROUTE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", state="a=1")
BODY = b'{"instances": [2.0, 4.0]}'
SERVABLE = ServableId("m", 3)


class Site:
    """What works on calls, and the spans that it makes."""

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray] = lambda x: x / 2,
        parameters: BatchingParameters | None = None,
        wrap: Callable[[FakeLoaded], Loaded] = lambda model: model,
    ) -> None:
        self.spans = SpanList()
        self.traces = CallTraces(Tracer(0.0, self.spans), SERVABLE)
        loaded = wrap(FakeLoaded(half_plus_two(), function))
        self.execution = (
            self.traces.execution(loaded, 1, AnswerSettings())
            if parameters is None
            else BatchedExecution(loaded, parameters, through=directly, traces=self.traces)
        )
        self.calls = TracedCalls(self.execution, self.traces)

    def of(self, trace: TraceContext, name: str) -> Span:
        """Return the one span of a name in a trace."""
        [found] = [one for one in self.spans.spans if (one.context.trace_id, one.name) == (trace.trace_id, name)]
        return found


@pytest.fixture
def site() -> Iterator[Site]:
    """A version that is not batched."""
    made = Site()
    yield made
    made.execution.close()


def traced(trace: TraceContext | None = ROUTE, body: bytes = BODY, timeout_s: float | None = None) -> Call:
    return Call(Method.REST_PREDICT, body, timeout_s, trace)


def other(number: int) -> TraceContext:
    return TraceContext(f"{number:032x}", f"{number:016x}")


async def submitted(site: Site, call: Call) -> Answer:
    waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    site.calls.submit(call, waiting.set_result)
    return await waiting


def assert_within(parent: Span, child: Span) -> None:
    assert child.parent_id == parent.context.span_id
    assert parent.begin_ns <= child.begin_ns <= child.end_ns <= parent.end_ns


@pytest.mark.parametrize("timeout_s", [None, 5.0])
async def test_a_call_waits_and_runs_below_its_route(site: Site, timeout_s: float | None) -> None:
    """Each span says what it stands for."""
    assert (await submitted(site, traced(timeout_s=timeout_s))).code is Code.OK

    call, queue, ran = (site.spans[name] for name in ("call", "queue", "run"))
    assert (call.kind, call.parent_id, call.context.state) == (SpanKind.SERVER, ROUTE.span_id, "a=1")
    assert call.attributes == {MODEL: "m", VERSION: 3, METHOD: "REST_PREDICT", TRANSPORT: "direct", CODE: "OK"}
    assert_within(call, queue)
    assert_within(call, ran)
    assert ran.attributes == {SIGNATURE: "serving_default", ROWS: 2}
    assert {one.context.trace_id for one in site.spans.spans} == {ROUTE.trace_id}


async def test_a_short_call_does_not_wait(site: Site) -> None:
    """Once its kind is known to be short, it runs at once."""
    for _ in range(50):
        await submitted(site, traced(None))

    await submitted(site, traced())

    assert [one.name for one in site.spans.spans] in (["run", "call"], ["queue", "run", "call"])
    assert_within(site.spans["call"], site.spans["run"])


def arrived(trace: TraceContext | None, answers: list[Answer], body: bytes = BODY, ago_s: float = 0.0) -> Arrival:
    return Arrival(traced(trace, body), answers.append, time.monotonic() - ago_s)


async def test_calls_that_came_together_have_spans_of_their_own() -> None:
    """One that fails and one that is not traced leave no mark on the others; each run is below its own call."""

    def function(fed: np.ndarray) -> np.ndarray:
        if fed[0] == 9.0:
            raise RuntimeFailure(Code.INTERNAL, "not nine")
        return fed

    site = Site(function)
    site.execution._expected_s = dict.fromkeys([(Method.REST_PREDICT, n) for n in range(9)], 0.0)
    answers: list[Answer] = []
    bodies = [b'{"instances": [1.0]}', b'{"instances": [9.0]}', b'{"instances": [2.0]}', b'{"instances": [3.0]}']
    traces = [other(1), other(2), None, other(4)]
    calls = [arrived(trace, answers, body) for trace, body in zip(traces, bodies, strict=True)]

    assert site.calls.group_size(calls) == 4
    assert site.calls.submit_together(calls) == [None] * 4

    assert [one.code for one in answers] == [Code.OK, Code.INTERNAL, Code.OK, Code.OK]
    for trace, code in ((other(1), "OK"), (other(2), "INTERNAL"), (other(4), "OK")):
        call, ran = site.of(trace, "call"), site.of(trace, "run")
        assert (call.attributes[CODE], ran.error) == (code, "" if code == "OK" else code)
        assert_within(call, ran)
    assert len(site.spans.spans) == 6
    assert NOTED_STEPS.get() is None
    site.execution.close()


async def test_the_wait_for_a_turn_is_a_part_of_a_call(site: Site) -> None:
    """Its span begins when it came."""
    answers: list[Answer] = []
    before_ns = time.time_ns()

    site.calls.submit_together([arrived(ROUTE, answers, ago_s=5.0)])
    while not answers:
        await asyncio.sleep(0.001)

    assert site.spans["call"].begin_ns < before_ns - 4 * 10**9
    assert_within(site.spans["call"], site.spans["run"])


@pytest.mark.parametrize("trace", [ROUTE, None])
async def test_a_call_that_is_withdrawn_before_its_turn_was_cancelled(site: Site, trace: TraceContext | None) -> None:
    """It has a span, and nothing below it."""
    site.calls.drop(arrived(trace, []))

    assert [(one.name, one.attributes[CODE]) for one in site.spans.spans] == [("call", "CANCELLED")] * (
        trace is not None
    )


async def test_a_call_through_a_handle_says_so(site: Site) -> None:
    """The slower way shows in the trace."""
    assert (await site.calls.call(traced())).code is Code.OK

    assert site.spans["call"].attributes[TRANSPORT] == "handle"
    assert_within(site.spans["call"], site.spans["run"])


async def test_a_call_that_is_not_traced_leaves_nothing(site: Site) -> None:
    """It passes as if there were no traces."""
    assert (await submitted(site, traced(None))).code is Code.OK
    assert (await site.calls.call(traced(None))).code is Code.OK

    assert site.spans.spans == []


@pytest.mark.parametrize("body", [b"{", b'{"instances": "x"}'])
async def test_a_body_that_cannot_be_read_has_no_run(site: Site, body: bytes) -> None:
    """The caller's mistake is no error of the server's span."""
    await submitted(site, traced(body=body))

    call = site.spans["call"]
    assert (call.attributes[CODE], call.error) == ("INVALID_ARGUMENT", "")
    assert "run" not in {one.name for one in site.spans.spans}


async def test_a_run_that_fails_is_an_error(site: Site) -> None:
    """With the code that the caller sees."""

    def fail(fed: np.ndarray) -> np.ndarray:
        raise ValueError(fed)

    broken = Site(fail)
    await submitted(broken, traced())
    broken.execution.close()

    assert (broken.spans["run"].error, broken.spans["call"].error) == ("INTERNAL", "INTERNAL")


async def hooked_call(parameters: BatchingParameters | None, text: str) -> SpanList:
    """Trace a call of a model with hooks, which take the text as a number."""

    def read(inputs: Mapping[str, np.ndarray], context: HookContext) -> Mapping[str, object]:
        return {"x": [[float(one)] for one in inputs["text"]]}

    def checked(outputs: Mapping[str, np.ndarray], context: HookContext) -> Mapping[str, np.ndarray]:
        return {"y": 1 / outputs["y"]} if outputs["y"].all() else {}

    declaration = HookDeclaration(
        "Hook h:H", inputs={"text": ("string", (None,))}, has_preprocess=True, has_postprocess=True
    )
    hooks = LoadedHooks("h:H", declaration, read, checked)
    site = Site(parameters=parameters, wrap=lambda model: with_hooks(model, hooks, hook_spec(Path("/m/1"))))
    await submitted(site, traced(body=json.dumps({"instances": [text]}).encode()))
    site.execution.close()
    return site.spans


@pytest.mark.parametrize("parameters", [None, BatchingParameters(1, num_batch_threads=1)], ids=["alone", "batched"])
async def test_hooks_are_steps_of_their_run(parameters: BatchingParameters | None) -> None:
    """In the order of the call, and with the code of a failure."""
    well, refused = await hooked_call(parameters, "4"), await hooked_call(parameters, "four")

    assert_within(well["run"], well["preprocess"])
    assert_within(well["run"], well["postprocess"])
    assert well["preprocess"].end_ns <= well["postprocess"].begin_ns
    assert (refused["preprocess"].error, refused["run"].error) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert "postprocess" not in {one.name for one in refused.spans}
    assert NOTED_STEPS.get() is None


async def test_a_call_that_is_given_up_notes_no_steps_of_the_next_one() -> None:
    """Its thread is another call's then."""
    noted: list[list[RunStep] | None] = []
    begun, gone = threading.Event(), threading.Event()

    def read(inputs: Mapping[str, np.ndarray], context: HookContext) -> Mapping[str, np.ndarray]:
        noted.append(NOTED_STEPS.get())
        begun.set()
        gone.wait(10)
        return inputs

    hooks = LoadedHooks("h:H", HookDeclaration("Hook h:H", has_preprocess=True), read, None)
    site = Site(wrap=lambda model: with_hooks(model, hooks, hook_spec(Path("/m/1"))))
    body = b'{"instances": [[2.0]]}'

    ticket = site.calls.submit(traced(body=body), lambda _: None)
    await asyncio.to_thread(begun.wait, 10)
    ticket.cancel()
    gone.set()
    answer = await submitted(site, traced(None, body))
    site.execution.close()

    assert answer.code is Code.OK
    assert [one is None for one in noted] == [False, True]


async def test_metadata_has_no_run(site: Site) -> None:
    """It is answered without TensorFlow."""
    await submitted(site, Call(Method.REST_METADATA, b"", None, ROUTE))

    assert {one.name for one in site.spans.spans} <= {"call", "queue"}


async def test_a_call_that_is_withdrawn_ends_its_span() -> None:
    """Its caller has gone; the answer is never sent."""
    may_go_on = threading.Event()

    def wait(fed: np.ndarray) -> np.ndarray:
        may_go_on.wait(60)
        return fed

    site = Site(wait)
    tickets = [site.calls.submit(traced(), lambda _: None) for _ in range(2)]

    for ticket in tickets:
        ticket.cancel()

    assert [one.attributes[CODE] for one in site.spans.spans if one.name == "call"] == ["CANCELLED"] * 2
    may_go_on.set()
    site.execution.close()


async def batch(site: Site, *traces: TraceContext | None, body: bytes = BODY) -> list[Answer]:
    return await asyncio.gather(*(submitted(site, traced(trace, body)) for trace in traces))


@pytest.fixture
def batching() -> Iterator[Site]:
    """A version whose batches are full with three requests of two rows."""
    made = Site(parameters=BatchingParameters(6, 1e7, num_batch_threads=1, allowed_batch_sizes=(8,)))
    yield made
    made.execution.close()


async def test_a_batch_is_in_all_traces_of_its_requests(batching: Site) -> None:
    """The first one's span knows all of them, and the others know it."""
    first, second = other(1), other(2)

    answers = await batch(batching, None, first, second)

    assert {one.code for one in answers} == {Code.OK}
    calls = [batching.of(trace, "call") for trace in (first, second)]
    batches = [batching.of(trace, "batch") for trace in (first, second)]
    runs = [batching.of(trace, "run") for trace in (first, second)]
    assert batches[0].links == tuple(one.context for one in calls)
    assert batches[1].links == (batches[0].context,)
    for trace, call, one, ran in zip((first, second), calls, batches, runs, strict=True):
        assert_within(call, batching.of(trace, "queue"))
        assert_within(call, one)
        assert_within(one, ran)
        assert one.attributes == {
            BATCH_ROWS: 6,
            BATCH_REQUESTS: 3,
            BATCH_PADDING: 2,
            ROWS: 2,
            SIGNATURE: "serving_default",
        }
        assert ran.attributes == {ROWS: 8}
    assert (runs[0].begin_ns, runs[0].end_ns) == (runs[1].begin_ns, runs[1].end_ns)


async def test_a_batch_without_traced_requests_leaves_nothing(batching: Site) -> None:
    """It passes as if there were no traces."""
    assert {one.code for one in await batch(batching, None, None, None)} == {Code.OK}

    assert batching.spans.spans == []


async def test_a_failed_batch_shows_each_of_its_runs() -> None:
    """It is repeated in halves, so the good request has an error and a success."""

    def refuse(fed: np.ndarray) -> np.ndarray:
        if (fed == 4).any():
            raise InvalidArgument("poison")
        return fed

    site = Site(refuse, BatchingParameters(2, 1e7, num_batch_threads=1))
    good, bad = other(1), other(2)

    answers = await asyncio.gather(
        submitted(site, traced(good, b'{"instances": [2.0]}')), submitted(site, traced(bad, b'{"instances": [4.0]}'))
    )
    site.execution.close()

    assert [one.code for one in answers] == [Code.OK, Code.INVALID_ARGUMENT]

    def errors(trace: TraceContext, name: str) -> list[str]:
        return [one.error for one in site.spans.spans if (one.context.trace_id, one.name) == (trace.trace_id, name)]

    assert errors(good, "run") == errors(good, "batch") == ["INVALID_ARGUMENT", ""]
    assert errors(bad, "run") == errors(bad, "batch") == ["INVALID_ARGUMENT"] * 2


async def test_a_batch_that_does_not_come_to_run_has_no_run() -> None:
    """Its time was up before."""
    site = Site(lambda x: x, BatchingParameters(2, 1e7, num_batch_threads=1))
    site.execution._batcher._batch_run._clock = lambda: float("inf")

    await asyncio.gather(*(submitted(site, traced(other(n), b'{"instances": [1.0]}', 60.0)) for n in (1, 2)))
    site.execution.close()

    names = [one.name for one in site.spans.spans]
    assert names.count("batch") == 2
    assert "run" not in names


@pytest.mark.parametrize("size", [0, 10, SCRATCH_BYTES - 60, SCRATCH_BYTES, 3_000_000])
def test_the_context_travels_behind_the_body(run: Run, size: int) -> None:
    """Bodies of every size arrive as they were."""

    async def test() -> None:
        taker = Taker()
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)
            body = b"x" * size

            answers = await asyncio.gather(*(call_over(connection, traced(one, body)) for one in (ROUTE, None, ROUTE)))

            assert [bytes(one.body) == body for one in answers] == [True] * 3
            assert [one.trace for one in taker.taken] == [ROUTE, None, ROUTE]
            connection.close()

    run(test)


def test_a_body_that_leaves_no_room_goes_without_its_context(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request counts more than its trace."""
    monkeypatch.setattr(direct_connection, "LARGEST_TRACED_BODY_BYTES", 100)

    async def test() -> None:
        taker = Taker()
        async with serving(taker) as (_, endpoint):
            connection = await connected(endpoint)

            assert (await call_over(connection, traced(ROUTE, b"x" * 100))).body == b"x" * 100

            assert taker.taken[0].trace is None
            connection.close()

    run(test)


@pytest.mark.parametrize(
    ("trailer", "expected"),
    [(b"garbage", None), (b"\xff" * 65535, None), (pack(ROUTE)[1:], None), (pack(ROUTE), ROUTE)],
)
def test_a_trailer_that_makes_no_sense_is_no_context(run: Run, trailer: bytes, expected: TraceContext | None) -> None:
    """The call is answered all the same."""

    async def test() -> None:
        taker = Taker()
        async with serving(taker) as (_, endpoint):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            writer.write(frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN)
            payload = b"body" + trailer
            writer.write(
                frame_header(FrameKind.CALL, len(payload), call_id=1, detail=5, trailer_bytes=len(trailer)) + payload
            )

            assert (await reader.readexactly(HEADER.size + 4)).endswith(b"body")

            assert taker.taken[0].trace == expected
            writer.close()

    run(test)


def test_a_trailer_longer_than_its_payload_breaks_the_connection(run: Run) -> None:
    """Whoever sends it does not speak this protocol."""

    async def test() -> None:
        taker = Taker()
        async with serving(taker) as (server, endpoint):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            writer.write(frame_header(FrameKind.HELLO, len(TOKEN)) + TOKEN)
            writer.write(frame_header(FrameKind.CALL, 4, call_id=1, detail=5, trailer_bytes=5) + b"body")

            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(1)

            assert taker.taken == []
            await until(lambda: not server.peers)
            writer.close()

    run(test)
