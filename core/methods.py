"""The methods of a model server: which function plans a request, and which answers without running the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from core import (
    grpc_examples,
    grpc_metadata,
    grpc_multi_inference,
    grpc_predict,
    grpc_session_run,
    metadata_json,
    rest_examples,
    rest_predict,
)
from core.run_plan import RunPlan
from core.signature import ServedModel
from core.transport import Method

Planner = Callable[[ServedModel, bytes], RunPlan]
Responder = Callable[[ServedModel, bytes], bytes]

PLANNERS: Mapping[Method, Planner] = MappingProxyType(
    {
        Method.REST_PREDICT: rest_predict.plan,
        Method.REST_CLASSIFY: rest_examples.plan_classify,
        Method.REST_REGRESS: rest_examples.plan_regress,
        Method.PREDICT: grpc_predict.plan,
        Method.CLASSIFY: grpc_examples.plan_classify,
        Method.REGRESS: grpc_examples.plan_regress,
        Method.MULTI_INFERENCE: grpc_multi_inference.plan,
        Method.SESSION_RUN: grpc_session_run.plan,
    }
)
"""Methods that run the model."""

RESPONDERS: Mapping[Method, Responder] = MappingProxyType(
    {
        Method.REST_METADATA: lambda model, _: metadata_json.metadata_body(model),
        Method.GET_MODEL_METADATA: grpc_metadata.respond,
    }
)
"""Methods that only tell what the model declares."""
