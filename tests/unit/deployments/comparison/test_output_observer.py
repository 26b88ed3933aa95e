"""Tests of what a replica counts of its outputs."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
import pytest

from core.config.server_settings import AnswerSettings
from core.delivery.output_counts import MOST_SAMPLES, Binning, OutputBins, OutputOrder, outputs_of_json
from core.errors import Code
from core.inference.run_plan import RunPlan
from core.routing.transport import Call, Method
from core.telemetry.metrics import Metrics
from deployments.comparison.output_observer import KEPT_FOR_S, LONGEST_TEXT, OutputObserver, observed_value
from deployments.inference.answering import Answering
from deployments.inference.call_meter import VersionMeter
from tests.support.fakes import FakeLoaded
from tests.support.served_models import half_plus_two

CALL = Call(Method.REST_PREDICT, b'{"instances": [2.0, 4.0]}')
THREE = Binning(edges=(2.5, 3.5))


class Site:
    """Half plus two, answering with an observer beside it, and a clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        served = half_plus_two()
        self.answering = Answering(FakeLoaded(served), AnswerSettings(), VersionMeter(served, Metrics()))
        self.observer = OutputObserver(served, self.switch, lambda: self.now_s, lambda: self.now_s)

    def switch(self, on_outputs: Any) -> None:
        """Let each answer be observed, or none."""
        self.answering.on_outputs = on_outputs

    @property
    def is_on(self) -> bool:
        """Whether answers are observed."""
        return self.answering.on_outputs is not None

    def order(self, outputs: dict[str, Binning], rollout: str = "r") -> dict[str, OutputBins]:
        """Send an order, and read its answer."""
        answer = self.observer.answer(OutputOrder(rollout, outputs).to_json())
        assert answer.code is Code.OK
        return outputs_of_json(bytes(answer.body))

    def call(self, count: int = 1) -> None:
        """Answer calls."""
        for _ in range(count):
            assert self.answering.at_once(CALL).code is Code.OK


def test_nothing_is_counted_before_somebody_asks() -> None:
    """And an order for nothing ends it."""
    site = Site()
    assert not site.is_on

    site.order({"y": Binning()})
    assert site.is_on

    site.order({})
    assert not site.is_on


def test_the_first_values_come_before_there_are_bins() -> None:
    """Of each answer that of its first row, up to a number of them."""
    site = Site()
    site.order({"y": Binning()})
    site.call(3)
    assert site.order({"y": Binning()})["y"].first == (3.0, 3.0, 3.0)

    site.call(MOST_SAMPLES)
    assert len(site.order({"y": Binning()})["y"].first) == MOST_SAMPLES


def test_answers_are_counted_in_the_bins_that_were_asked_for() -> None:
    """From the order on, and the sum is that of all answers since."""
    site = Site()
    site.order({"y": Binning()})
    site.call(5)
    site.order({"y": THREE})
    site.call(4)

    assert site.order({"y": THREE})["y"].counts == {"1": 4}


def test_a_router_that_has_not_heard_of_the_bins_does_not_end_them() -> None:
    """Tables reach routers at different times; counts go on."""
    site = Site()
    site.order({"y": THREE})
    site.call(4)

    assert site.order({"y": Binning()})["y"].counts == {"1": 4}


def test_another_rollout_counts_anew() -> None:
    """Its samples are of now, and its run number is higher."""
    site = Site()
    first = site.order({"y": THREE})["y"]
    site.call(4)
    site.now_s += 5
    second = site.order({"y": Binning()}, rollout="other")["y"]

    assert (second.counts, second.first) == ({}, ())
    assert second.run > first.run


def test_other_bins_count_anew() -> None:
    """Even within the same millisecond the run number says so."""
    site = Site()
    first = site.order({"y": THREE})["y"]
    site.call(4)
    second = site.order({"y": Binning(edges=(0.5,))})["y"]

    assert second.counts == {}
    assert second.run > first.run


def test_counting_ends_when_nobody_asks_any_more() -> None:
    """A router that is gone, or a plan that is over, leaves no costs behind."""
    site = Site()
    site.order({"y": THREE})
    site.call()
    site.now_s += KEPT_FOR_S + 1
    assert site.is_on
    site.call()

    assert not site.is_on
    assert site.order({"y": THREE})["y"].counts == {}


def test_calls_of_other_signatures_have_outputs_of_their_own() -> None:
    """An output is found by its name in the signature that ran; one that was not asked for is not counted."""
    site = Site()
    site.order({"scores": THREE, "y": THREE})
    fetched = (np.float32([[3.0], [9.0]]),)

    def ran(signature: str, *fetches: str) -> None:
        site.observer.observe(RunPlan({}, fetches, lambda _: b"", signature), fetched)

    ran("classify_x_to_y", "y:0")
    ran("serving_default", "y:0")
    ran("serving_default", "y2:0")
    ran("none", "y:0")

    assert {name: one.counts for name, one in site.order({"scores": THREE, "y": THREE}).items()} == {
        "scores": {"1": 1},
        "y": {"1": 1},
    }


def test_an_observer_that_fails_harms_no_answer(caplog) -> None:
    """It is logged once."""
    site = Site()
    site.order({"y": THREE})
    site.observer._found = lambda _: (("no series", 0),)
    site.call(3)

    assert caplog.text.count("output_not_counted") == 1


@pytest.mark.parametrize(
    "order",
    [
        *(b"", b"[]", b"{", b"[" * 100_000, b"\xff", b'{"rollout": "r"}'),
        b'{"rollout": "r", "outputs": []}',
        b'{"rollout": "r", "outputs": {"y": 7}}',
        b'{"rollout": "r", "outputs": {"y": {"edges": ["x"], "values": []}}}',
    ],
)
def test_what_is_no_order_is_refused(order: bytes) -> None:
    """Nothing is switched on by it."""
    site = Site()

    assert site.observer.answer(order).code is Code.INVALID_ARGUMENT
    assert not site.is_on


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{", b'{"y": 1}', b'{"y": {"counts": {"0": "x"}, "first": [], "run": 1}}']
)
def test_what_is_no_answer_counts_nothing(answer: bytes) -> None:
    """A replica of another program's version may not know the method."""
    assert outputs_of_json(answer) == {}


def test_counts_survive_the_way() -> None:
    """Whatever the values are."""
    site = Site()
    site.order({"y": Binning()})
    for value in (math.nan, math.inf, -0.0):
        site.observer.observe(RunPlan({}, ("y:0",), lambda _: b"", "serving_default"), (np.float32([value]),))
    first = site.order({"y": Binning()})["y"].first

    assert [str(one) for one in first] == ["nan", "inf", "-0.0"]


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (np.float32([[0.25], [0.5]]), 0.25),
        (np.float64(0.5), 0.5),
        (np.float16([0.5, 2.0]), 0.5),
        (np.float32([[0.1, 0.7, 0.2], [1, 0, 0]]), 1),
        (np.float32([[[0.1, 0.7], [0.8, 0.2]]]), 2),
        (np.int64([[7, 8]]), 7),
        (np.array([True]), 1),
        (np.array([b"cat", b"dog"], object), "cat"),
        (np.array(["caf\u00e9"]), "caf\u00e9"),
        (np.array([b"\xff"], object), "\ufffd"),
        (np.array([b"x" * 1000], object), "x" * LONGEST_TEXT),
        (np.zeros((0, 3), np.float32), None),
        (np.zeros((3, 0), np.float32), None),
        (np.complex64([1j]), None),
    ],
)
def test_a_value_stands_for_an_answer(output: np.ndarray, value: float | str | None) -> None:
    """The first row's number, its largest column, or its text."""
    assert observed_value(output) == value
    assert type(observed_value(output)) is type(value)
    json.dumps(observed_value(output))


def test_a_row_with_nan_is_nan() -> None:
    """A column would be chosen by where the NaN is."""
    value = observed_value(np.float32([[0.1, math.nan, 0.9]]))

    assert isinstance(value, float)
    assert math.isnan(value)


def test_a_call_costs_no_python_call_more_when_nothing_is_observed() -> None:
    """Also not after it once was."""
    site = Site()

    def calls() -> int:
        names: list[str] = []
        sys.setprofile(lambda frame, event, _: names.append(frame.f_code.co_qualname) if event == "call" else None)
        try:
            site.call()
        finally:
            sys.setprofile(None)
        assert not any("OutputObserver" in one for one in names)
        return len(names)

    site.call()
    before = calls()
    site.order({"y": THREE})
    site.call()
    site.order({})

    assert calls() == before
