"""`python stock_predict.py HOST:REST_PORT HOST:GRPC_PORT`: what TensorFlow Serving's own client gets of the same models."""

from __future__ import annotations

import json
import sys

import grpc
import numpy as np
import tensorflow as tf
from cases import COMPARED
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

TIMEOUT_S = 60


def main() -> None:
    """Print all outputs, bit by bit."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(sys.argv[2]))
    told = {}
    for model, (name, shape, values) in COMPARED.items():
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.array(values, np.float32).reshape(shape)))
        for output, tensor in stub.Predict(request, timeout=TIMEOUT_S).outputs.items():
            told[f"{model} {output}"] = tf.make_ndarray(tensor).tobytes().hex()
    print(json.dumps({"bits": told}))


if __name__ == "__main__":
    main()
