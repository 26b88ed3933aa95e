"""A runtime for MLServer, which asks for one: the Open Inference Protocol around a SavedModel."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from peer_models import loaded


class Runtime(MLModel):
    async def load(self) -> bool:
        self._model = loaded(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        scores = NumpyCodec.encode_output("scores", self._model.predict(rows))
        return InferenceResponse(model_name=self.name, outputs=[scores])
