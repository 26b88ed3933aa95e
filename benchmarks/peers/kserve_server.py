"""KServe's SDK server around the least possible models, as its own documentation writes one: PORT NAME=DIRECTORY..."""

from __future__ import annotations

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from peer_models import loaded, port_and_folders


class Served(Model):
    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name)
        self._model = loaded(folder)
        self.ready = True

    async def predict(self, payload: InferRequest, *_: object) -> InferResponse:
        outputs = self._model.predict(payload.inputs[0].as_numpy())
        means = InferOutput("means", list(outputs.shape), "FP32")
        means.set_data_from_numpy(outputs, binary_data=payload.use_binary_outputs)
        return InferResponse(
            payload.id, self.name, [means], use_binary_outputs=payload.use_binary_outputs, from_grpc=payload.from_grpc
        )


port, folders = port_and_folders()
server = ModelServer(http_port=port, grpc_port=port + 1, workers=1, enable_latency_logging=False)
server.start([Served(name, folder) for name, folder in folders.items()])
