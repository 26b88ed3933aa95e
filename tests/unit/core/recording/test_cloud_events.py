"""Records as events under KServe's names."""

from __future__ import annotations

import json

import pytest

from core.config.model_config import LoggingConfig
from core.errors import InvalidArgument
from core.events.http_messages import EventLine
from core.events.settings import EventSettings, LoggedParts
from core.inference.signature import ServedModel
from core.recording.cloud_events import EventWriter
from core.recording.collector import LogContext
from core.recording.json_line import json_line
from core.recording.prediction_log import Exchange, LogOrigin, prediction_log
from core.routing.transport import Method
from tests.support.prediction_logs import predict_request

CONTEXT = LogContext("größe /1", 3, "replica")


def record() -> bytes:
    exchange = Exchange(Method.PREDICT, predict_request(1.5).SerializeToString(), b"", 1e9)
    return prediction_log(ServedModel("m", 3, {}), exchange, LogOrigin(LoggingConfig()))


def events(**settings: object) -> list[tuple[dict[str, str], object]]:
    config = LoggingConfig("cloudevents", "http://sink/", 1.0, events=EventSettings(**settings))
    lines = EventWriter(config, CONTEXT, lambda: "the-id").lines(record())
    return [(json.loads(one.attributes), json.loads(one.data)) for one in lines]


def test_a_request_and_its_answer_are_two_events_of_one_id() -> None:
    """With KServe's types; data are those of a line of JSON."""
    (request, asked), (response, answered) = events()

    shown = json.loads(json_line(record()))
    assert request == {
        "specversion": "1.0",
        "id": "the-id",
        "source": "/v1/models/gr%C3%B6%C3%9Fe%20%2F1/versions/3",
        "type": "org.kubeflow.serving.inference.request",
        "time": "2001-09-09T01:46:40Z",
        "datacontenttype": "application/json",
        "inferenceservicename": "größe /1",
        "modelversion": "3",
        "signature": "serving_default",
        "method": "predict",
    }
    assert response == {**request, "type": "org.kubeflow.serving.inference.response"}
    assert (asked, answered) == (shown["request"], shown["response"])
    assert asked["inputs"] == {"x": [[1.5]]}


@pytest.mark.parametrize(("log", "types"), [(LoggedParts.REQUEST, ["request"]), (LoggedParts.RESPONSE, ["response"])])
def test_a_log_of_one_kind_has_no_others(log, types) -> None:
    """As KServe's logger modes."""
    assert [one["type"].rpartition(".")[2] for one, _ in events(log=log)] == types


def test_kserves_further_attributes_are_there_when_they_are_set() -> None:
    """And the name of the service, where it is not the model's."""
    given = {"inference_service": "i", "namespace": "n", "component": "predictor", "endpoint": "canary"}
    (request, _), _ = events(**given)

    assert {name: request[name] for name in ("inferenceservicename", "namespace", "component", "endpoint")} == {
        "inferenceservicename": "i", "namespace": "n", "component": "predictor", "endpoint": "canary",
    }  # fmt: skip
    assert all(name.isascii() and name.isalnum() and name.islower() and len(name) <= 20 for name in request)


def test_a_record_that_cannot_be_shown_is_refused() -> None:
    """It is dropped, and counted, alone."""
    with pytest.raises(InvalidArgument):
        EventWriter(LoggingConfig(), CONTEXT).lines(b"\xff")


def test_every_exchange_has_an_id_of_its_own() -> None:
    """A sink knows repeated events by it."""
    lines: list[EventLine] = [EventWriter(LoggingConfig(), CONTEXT).lines(record())[0] for _ in range(2)]

    assert len({json.loads(one.attributes)["id"] for one in lines}) == 2


def test_headers_of_the_request_are_the_attribute_metadata() -> None:
    """Of both events, as KServe's logger has them: lists of values by name."""
    headers = (("x-tenant", "a"), ("x-request-id", "7"), ("x-tenant", "b"))
    lines = EventWriter(LoggingConfig("cloudevents", "http://sink/"), CONTEXT).lines(record(), headers)

    for one in lines:
        assert json.loads(json.loads(one.attributes)["metadata"]) == {"x-tenant": ["a", "b"], "x-request-id": ["7"]}
