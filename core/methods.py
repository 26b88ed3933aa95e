"""The methods of a model server: the function that plans its run, or that answers without running the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from core.config.server_settings import AnswerSettings
from core.grpc import examples as grpc_examples
from core.grpc import metadata as grpc_metadata
from core.grpc import multi_inference as grpc_multi_inference
from core.grpc import predict as grpc_predict
from core.grpc import session_run as grpc_session_run
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel, check_predictable
from core.oip import metadata as oip_metadata
from core.oip.grpc_request import plan_grpc_infer
from core.oip.json_request import plan_json_infer
from core.rest import examples as rest_examples
from core.rest import metadata as rest_metadata
from core.rest import predict as rest_predict
from core.routing.transport import Method

Planner = Callable[[ServedModel, bytes], RunPlan]
Responder = Callable[[ServedModel, bytes], bytes]


def planners(answers: AnswerSettings) -> Mapping[Method, Planner]:
    """Return the methods that run the model, with the operator's choices of checks and of tensor formats."""
    check = answers.check_method_name
    return MappingProxyType(
        {
            Method.REST_PREDICT: partial(rest_predict.plan_predict, check_method=check),
            Method.REST_CLASSIFY: partial(rest_examples.plan_classify, check_method=check),
            Method.REST_REGRESS: partial(rest_examples.plan_regress, check_method=check),
            Method.PREDICT: partial(
                grpc_predict.plan_predict, as_content=answers.as_tensor_content, check_method=check
            ),
            Method.CLASSIFY: partial(grpc_examples.plan_classify, check_method=check),
            Method.REGRESS: partial(grpc_examples.plan_regress, check_method=check),
            Method.MULTI_INFERENCE: partial(grpc_multi_inference.plan_multi_inference, check_method=check),
            Method.SESSION_RUN: grpc_session_run.plan_session_run,
            Method.OIP_REST_INFER: _checked(plan_json_infer) if check else plan_json_infer,
            Method.OIP_INFER: _checked(plan_grpc_infer) if check else plan_grpc_infer,
        }
    )


def _checked(planner: Planner) -> Planner:
    """Let a planner refuse signatures that were exported for no known method, as those of Predict do."""

    def checked(model: ServedModel, body: bytes) -> RunPlan:
        plan = planner(model, body)
        check_predictable(model.signatures[plan.signature])
        return plan

    return checked


RESPONDERS: Mapping[Method, Responder] = MappingProxyType(
    {
        Method.REST_METADATA: lambda model, _: rest_metadata.metadata_body(model),
        Method.GET_MODEL_METADATA: grpc_metadata.respond,
        Method.OIP_REST_METADATA: oip_metadata.metadata_json,
        Method.OIP_METADATA: oip_metadata.metadata_message,
    }
)
"""Methods that only return the model's declarations."""
