#!/usr/bin/env bash
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6.
# Behaviour: an input of strings takes an object array of bytes without a word, and the model sees Python's way of writing
#   them, with the b and the quotes. Texts are taken as they are.
# Output seen:
#   sent b'Ulm', the model saw "b'Ulm'"
#   sent 'Ulm', the model saw 'Ulm'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PROGRAM'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

x, y = (helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in "xy")
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

seen = []
for sent in (b"Ulm", "Ulm"):
    ((saw,),) = session.run(["y"], {"x": np.array([sent], object)})
    print(f"sent {sent!r}, the model saw {saw!r}")
    seen.append(saw)
assert seen == ["b'Ulm'", "Ulm"]
PROGRAM
