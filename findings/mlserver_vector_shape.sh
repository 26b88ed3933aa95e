#!/usr/bin/env bash
# Versions: mlserver 1.7.1, numpy 2.4.6.
# Behaviour: NumpyCodec, which models of MLServer answer with by default, gives a vector of N elements the shape [N, 1], and
#   a scalar the shape [1]. Who sends [N] gets [N, 1] back, and a client's array has another rank than the model's.
# Output seen:
#   (3,) becomes [3, 1]
#   (3, 1) becomes [3, 1]
#   (3, 2) becomes [3, 2]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mlserver==1.7.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PROGRAM'
import numpy as np
from mlserver.codecs import NumpyCodec

seen = []
for shape in ((3,), (3, 1), (3, 2)):
    output = NumpyCodec.encode_output("y", np.zeros(shape, np.float32))
    print(f"{shape} becomes {output.shape}")
    seen.append(output.shape)
assert seen == [[3, 1], [3, 1], [3, 2]]
PROGRAM
