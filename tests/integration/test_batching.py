"""Batching in a running server: answers are those of a model without it, whoever shares the run."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from core.routing.transport import Call, Method
from tests.integration.conftest import LiveServer
from tests.integration.test_grpc import LARGE, PREDICTION
from tests.support.clients import RestClient
from tests.support.doors.infer_client import MODEL_INFER
from tests.support.infer_bodies import named, over_http
from tests.support.mixed_calls import mixed_calls

ALONE, BATCHED = "tf1_half_plus_two", "tf1_batched_plus2"
VERBS = {Method.REST_PREDICT: "predict", Method.REST_CLASSIFY: "classify", Method.REST_REGRESS: "regress"}
RPCS = {
    Method.PREDICT: "Predict",
    Method.CLASSIFY: "Classify",
    Method.REGRESS: "Regress",
    Method.MULTI_INFERENCE: "MultiInference",
}
INFER = {Method.OIP_REST_INFER, Method.OIP_INFER}
CLIENTS = 25
Answer = tuple[object, bytes]


def asked(server: LiveServer, model: str, calls: list[Call]) -> list[Answer]:
    """Send all calls at the same time, on many connections; give statuses and bodies in the order of the calls."""
    mine = threading.local()

    def send(call: Call) -> Answer:
        if not hasattr(mine, "rest"):
            mine.rest = RestClient(server.rest_port)
        if call.method is Method.OIP_REST_INFER:
            body, headers = over_http(call.body)
            reply = mine.rest.send("POST", f"/v2/models/{model}/infer", body, headers)
            return reply.status, renamed(reply.body, ALONE)
        reply = mine.rest.post(f"/v1/models/{model}:{VERBS[call.method]}", call.body)
        return reply.status, reply.body

    with (
        ThreadPoolExecutor(CLIENTS) as pool,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=LARGE) as channel,
    ):
        waiting = [
            channel.unary_unary(PREDICTION + RPCS[call.method]).future(renamed(call.body, model), timeout=60)
            if call.method in RPCS
            else channel.unary_unary(MODEL_INFER).future(named(call.body, model), timeout=60)
            if call.method is Method.OIP_INFER
            else pool.submit(send, call)
            for call in calls
        ]
        return [outcome(one) for one in waiting]


def outcome(waiting: object) -> Answer:
    """Wait for an answer; gRPC's errors become code and text."""
    try:
        answer = waiting.result(60)
    except grpc.RpcError as error:
        return error.code(), renamed(error.details().encode(), ALONE)
    return answer if isinstance(answer, tuple) else (grpc.StatusCode.OK, renamed(answer, ALONE))


def renamed(message: bytes, model: str) -> bytes:
    """Put another model's name into a message; names of equal length keep it well-formed."""
    assert len(ALONE) == len(BATCHED)
    return message.replace(ALONE.encode(), model.encode()).replace(BATCHED.encode(), model.encode())


def test_two_hundred_mixed_requests_are_answered_as_if_each_were_alone(server: LiveServer) -> None:
    """By every protocol at once, every fifth or so a bad one: statuses, texts and values are the same."""
    asked_for = {*VERBS, *RPCS, *INFER}
    calls = [call for call in mixed_calls(ALONE, 230, seed=3) if call.method in asked_for][:200]

    batched, alone = asked(server, BATCHED, calls), asked(server, ALONE, calls)

    assert len(calls) == 200
    assert {call.method for call in calls} == asked_for
    for call, got, wanted in zip(calls, batched, alone, strict=True):
        assert got == wanted, call
    refused = [one for one in batched if one[0] not in (200, grpc.StatusCode.OK)]
    assert {status for status, _ in refused} == {400, grpc.StatusCode.INVALID_ARGUMENT}
    assert 20 < len(refused) < 100


def test_a_request_larger_than_a_batch_is_split(server: LiveServer, client: RestClient) -> None:
    """Its answer is whole; only the limit for requests holds."""
    instances = [[float(number)] for number in range(60)]

    assert client.predict(BATCHED, instances) == [[number / 2 + 2] for number in range(60)]
    reply = client.post(f"/v1/models/{BATCHED}:predict", {"instances": [[0.0]] * 65})
    assert (reply.status, json.loads(reply.body)["error"]) == (
        400,
        "Task size 65 is larger than maximum input batch size 64",
    )
