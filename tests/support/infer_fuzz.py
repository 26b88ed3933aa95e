"""ModelInferRequests of any structure, as hypothesis makes them: good ones, wrong ones and absurd ones."""

from __future__ import annotations

from hypothesis import strategies as st

from core.protos import oip_pb2

TEXTS = st.text("aß☃", max_size=8)
NAMES = st.sampled_from(["x", "y", ""])
PARAMETERS = st.dictionaries(
    st.sampled_from(["version_label", "signature_name", "other"]),
    st.one_of(
        st.builds(lambda text: oip_pb2.InferParameter(string_param=text), TEXTS),
        st.builds(lambda number: oip_pb2.InferParameter(int64_param=number), st.integers(-1, 1)),
        st.just(oip_pb2.InferParameter()),
    ),
    max_size=3,
)
SIZES = st.one_of(st.integers(-1, 3), st.sampled_from([2**31, 2**62, -(2**63)]))
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "bool_contents": st.lists(st.booleans(), max_size=3),
        "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        "int64_contents": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
        "uint_contents": st.lists(st.integers(0, 2**32 - 1), max_size=3),
        "uint64_contents": st.lists(st.integers(0, 2**64 - 1), max_size=3),
        "fp32_contents": st.lists(st.floats(width=32), max_size=3),
        "fp64_contents": st.lists(st.floats(), max_size=3),
        "bytes_contents": st.lists(st.binary(max_size=5), max_size=3),
    },
)
INPUTS = st.builds(
    lambda name, datatype, shape, contents: {"name": name, "datatype": datatype, "shape": shape, "contents": contents},
    NAMES,
    st.sampled_from(["BOOL", "INT8", "INT64", "UINT16", "FP16", "BF16", "FP32", "fp32", "BYTES", "FP8", ""]),
    st.lists(SIZES, max_size=3),
    CONTENTS,
)
INFER_REQUESTS = st.builds(
    oip_pb2.ModelInferRequest,
    model_name=st.sampled_from(["half_plus_two", "no", ""]),
    model_version=st.sampled_from(["", "", "1", "7", "x"]),
    id=TEXTS,
    inputs=st.lists(INPUTS, max_size=3),
    raw_input_contents=st.lists(st.binary(max_size=20), max_size=3),
    outputs=st.lists(st.builds(lambda name: {"name": name}, NAMES), max_size=2),
    parameters=PARAMETERS,
)
