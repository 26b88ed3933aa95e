"""The models of the zoo behind REST's and gRPC's doors, without batching and with it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import grpc
import numpy as np

from core.config.model_config import BatchingParameters
from core.config.server_settings import LoadingSettings, ServerSettings
from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2
from core.versions.servable_spec import ServableSpec
from deployments.inference.assembly import loaded_model
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.batcher import HandOver, Work
from deployments.inference.execution import Execution
from deployments.runtime.saved_model import LoadedModel
from tests.support.clients import Reply, RestClient
from tests.support.doors.infer_client import InferClient
from tests.support.doors.model_stack import ModelStack
from tests.support.zoo_models import ZooCall, zoo_folder

SERVICE = "/tensorflow.serving.PredictionService/"
BATCHING = BatchingParameters(64, batch_timeout_micros=5000, num_batch_threads=1)


def loaded_call(call: ZooCall) -> LoadedModel:
    """Load the version of a call as a replica does."""
    settings = ServerSettings(loading=LoadingSettings(saved_model_tags=frozenset(call.tags)))
    return loaded_model(ServableSpec(call.servable, str(zoo_folder(call.model, call.version)), settings))


class ZooSite:
    """The same models twice: without batching and with it."""

    def __init__(self, models: Mapping[Any, LoadedModel], open_context: ExitStack) -> None:
        self.runs: list[int] = []
        self._plain = open_context.enter_context(ModelStack({key: Execution(one, 2) for key, one in models.items()}))
        batched = {key: BatchedExecution(one, BATCHING, through=_directly) for key, one in models.items()}
        self._batched = open_context.enter_context(ModelStack(batched))
        ports = (self._plain.grpc_port, self._batched.grpc_port)
        both = (self._plain, self._batched)
        self._clients = [open_context.enter_context(InferClient(one.rest_port, one.grpc_port)) for one in both]
        self._channels = [open_context.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")) for port in ports]

    def post(self, call: ZooCall, body: Any, *, batched: bool = False) -> Reply:
        """Send a REST request with the call's own verb."""
        client = RestClient((self._batched if batched else self._plain).rest_port)
        servable = call.servable
        path = f"/v1/models/{servable.name}/versions/{servable.version}:{call.method}"
        reply = client.post(path, {"signature_name": call.signature, **body})
        client.close()
        return reply

    def metadata(self, call: ZooCall) -> Any:
        """Return the signatures as REST prints them."""
        client = RestClient(self._plain.rest_port)
        told = client.get(f"/v1/models/{call.servable.name}/versions/{call.version}/metadata").json
        client.close()
        return told["metadata"]["signature_def"]["signature_def"]

    def predict(
        self, call: ZooCall, inputs: Mapping[str, np.ndarray], *, batched: bool = False
    ) -> dict[str, np.ndarray]:
        """Predict over gRPC; answers all outputs."""
        request = serving_pb2.PredictRequest(model_spec=zoo_spec(call))
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(to_proto(value))
        raw = self.ask("Predict", request, batched=batched)
        return {key: to_array(one) for key, one in serving_pb2.PredictResponse.FromString(raw).outputs.items()}

    def infer(self, call: ZooCall, form: str, *, batched: bool = False) -> dict[str, np.ndarray]:
        """Ask by the Open Inference Protocol, in one of its forms; answers all outputs.

        Raises RefusedInference for an error.
        """
        servable = call.servable
        chosen = {"version": str(servable.version), "parameters": {"signature_name": call.signature}}
        return self._clients[batched].infer(form, servable.name, call.inputs, **chosen)

    def ask(self, method: str, request: Any, *, batched: bool = False) -> bytes:
        """Call a gRPC method."""
        return self._channels[batched].unary_unary(SERVICE + method)(request.SerializeToString(), timeout=60)


def _directly(work: Work, limit: int, slots: int) -> HandOver:
    """Hand batches over without Serve, which wants a replica around it."""
    del limit, slots
    return work


def zoo_spec(call: ZooCall) -> serving_pb2.ModelSpec:
    """Name the version and the signature of a call."""
    spec = serving_pb2.ModelSpec(name=call.servable.name, signature_name=call.signature)
    spec.version.value = call.version
    return spec
