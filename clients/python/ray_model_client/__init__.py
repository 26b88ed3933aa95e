"""A client of model servers over gRPC: TensorFlow Serving's protocol, and the Open Inference Protocol (version 2).

    from ray_model_client import Client

    with Client("127.0.0.1:8500") as client:
        client.predict("half_plus_two", {"x": [1.0, 2.0, 5.0]})["y"]

What belongs here: what a program that only asks needs. It imports numpy and grpc, nothing of the server, and no
protobuf runtime, whose versions a program's other libraries disagree about.
"""

from ray_model_client.asyncio_client import AsyncClient
from ray_model_client.client import Client
from ray_model_client.values import (
    Code,
    Inference,
    ModelDescription,
    ServerDescription,
    ServerError,
    Signature,
    State,
    TensorDescription,
    TensorSpec,
    VersionStatus,
)

__all__ = [
    "AsyncClient",
    "Client",
    "Code",
    "Inference",
    "ModelDescription",
    "ServerDescription",
    "ServerError",
    "Signature",
    "State",
    "TensorDescription",
    "TensorSpec",
    "VersionStatus",
]
