#!/usr/bin/env bash
# Versions: ai-edge-litert 2.3.0, numpy 2.3.5.
# Behaviour: the text of an error that an interpreter raises begins with the texts of all errors it has raised before, so
#   that a caller sees what went wrong for another, and the text grows. A new interpreter begins anew.
# Output seen:
#   1: gather index out of bounds once
#   2: gather index out of bounds twice
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ai-edge-litert==2.3.0 numpy==2.3.5
cd "$folder"
venv/bin/python - <<'PROGRAM'
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter


def tensor(name, shape, dtype, buffer=0):
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name, shape, dtype, buffer
    return made


values, code, gather = schema.BufferT(), schema.OperatorCodeT(), schema.OperatorT()
values.data = np.frombuffer(np.ones(2, np.float32).tobytes(), np.uint8)
code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.GATHER
gather.inputs, gather.outputs = [0, 1], [2]
gather.builtinOptionsType, gather.builtinOptions = schema.BuiltinOptions.GatherOptions, schema.GatherOptionsT()
graph, model = schema.SubGraphT(), schema.ModelT()
kinds = schema.TensorType
graph.tensors = [tensor("v", [2], kinds.FLOAT32, 1), tensor("i", [1], kinds.INT32), tensor("o", [1], kinds.FLOAT32)]
graph.inputs, graph.outputs, graph.operators = [1], [2], [gather]
model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT(), values]
builder = flatbuffers.Builder(1024)
builder.Finish(model.Pack(builder), b"TFL3")

interpreter = Interpreter(model_content=bytes(builder.Output()))
interpreter.allocate_tensors()
interpreter.set_tensor(1, np.array([7], np.int32))
counts = []
for _ in range(2):
    try:
        interpreter.invoke()
    except RuntimeError as error:
        counts.append(str(error).count("gather index out of bounds"))
print("\n".join(f"{run}: gather index out of bounds {'once' if n == 1 else 'twice'}" for run, n in enumerate(counts, 1)))
assert counts == [1, 2], f"errors keep their own texts now: {counts}"
PROGRAM
