"""LitServe with one worker for each model: PORT NAME=DIRECTORY..."""

from __future__ import annotations

from typing import Any

import litserve
from peer_models import loaded, port_and_folders


class Api(litserve.LitAPI):
    folder = ""

    def setup(self, device: str) -> None:
        del device
        self.model = loaded(self.folder)

    # LitServe takes the JSON body for `request` only where no type is given.
    def decode_request(self, request) -> Any:  # noqa: ANN001
        return request["instances"]

    def predict(self, x: Any) -> Any:
        return self.model.predict(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": output.tolist()}


def main() -> None:
    port, folders = port_and_folders()
    apis = []
    for name, folder in folders.items():
        api = Api(api_path=f"/v1/models/{name}:predict")
        api.folder = folder
        apis.append(api)
    server = litserve.LitServer(apis, accelerator="cpu", timeout=60)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
