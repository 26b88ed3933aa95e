"""The zoo's models over the Open Inference Protocol: what Predict answers, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest

from core.errors import HTTP_STATUS, Code
from tests.support.doors.infer_client import RefusedInference
from tests.support.doors.zoo_site import ZooSite, loaded_call
from tests.support.infer_bodies import FORMS, bits
from tests.support.zoo_models import ZooCall, zoo_calls

CALLS = zoo_calls()
ANSWERED = [call for call in CALLS if call.error is None and call.method == "predict"]
REFUSED = [call for call in CALLS if call.error is not None]

every_form = pytest.mark.parametrize("form", FORMS)


def cases(calls: list[ZooCall]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", calls, ids=[call.id for call in calls])


@pytest.fixture(scope="module")
def site() -> Iterator[ZooSite]:
    """Serve every model of the zoo that loads."""
    calls = {call.servable: call for call in CALLS}
    with ExitStack() as stack:
        yield ZooSite({servable: loaded_call(call) for servable, call in calls.items()}, stack)


@cases(ANSWERED)
@every_form
def test_p_every_form_answers_as_predict_does(site: ZooSite, call: ZooCall, form: str) -> None:
    """With the same bits, whichever protocol asked."""
    answered, expected = site.infer(call, form), site.predict(call, call.inputs)

    assert bits(answered) == bits(expected)


@cases([call for call in ANSWERED if call.rows])
@every_form
def test_p_every_form_answers_as_predict_does_with_batching(site: ZooSite, call: ZooCall, form: str) -> None:
    """Where the calls have rows."""
    answered, expected = site.infer(call, form, batched=True), site.predict(call, call.inputs, batched=True)

    assert bits(answered) == bits(expected)


@cases(REFUSED)
@every_form
def test_p_a_model_that_cannot_run_says_why_over_every_form(site: ZooSite, call: ZooCall, form: str) -> None:
    """By the code and the text that Predict gives."""
    with pytest.raises(grpc.RpcError) as expected:
        site.predict(call, call.inputs)
    with pytest.raises(RefusedInference) as refused:
        site.infer(call, form)

    code = Code[expected.value.code().name]
    assert refused.value.args[0] in {expected.value.code(), HTTP_STATUS[code]}
    assert call.error in refused.value.args[1]
    assert call.error in expected.value.details()
