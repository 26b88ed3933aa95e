"""ONNX models loaded and run by onnxruntime; how the zoo's answer over both protocols is in tests/unit/test_zoo.py."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from core.config.model_config import ModelConfig, ModelResources
from core.errors import (
    Code,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServingError,
    Unavailable,
    Unimplemented,
)
from core.grpc.predict import plan_predict
from core.inference.signature import DEFAULT_SIGNATURE, fixed_tensors
from core.inference.tensor_proto import to_array, to_proto
from core.platforms.onnx_signature import WITH_INITIALIZERS
from core.protos import serving_pb2
from core.versions.load_report import LoadFailed
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.container.cpus import usable_cpus
from deployments.inference.assembly import loaded_model
from deployments.platforms.onnx import PLATFORM, LoadedOnnx
from tests.support.onnx_models import (
    doubled_many_times,
    identity,
    model,
    node,
    plus_weights,
    scores,
    sequence,
    value,
    write,
)
from tests.support.zoo_models import MODELS, ZooCall, zoo_calls

X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


def spec_of(folder: Path, num_cpus: float = 0.0) -> ServableSpec:
    """Make what a replica is given."""
    config = ModelConfig("m", str(folder), resources=ModelResources(num_cpus=num_cpus))
    return ServableSpec(ServableId("m", 1), str(folder), config=config)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedOnnx]:
    """Write a model, and load it."""
    return lambda made, **more: PLATFORM.load(spec_of(write(tmp_path / "1", made, **more)))


def in_process(call: ZooCall) -> Mapping[str, np.ndarray]:
    """Return onnxruntime's own answer, with texts and maps as it gives them."""
    file = MODELS / call.model / str(call.version) / "model.onnx"
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    texts = {
        name: np.vectorize(bytes.decode, [object])(one) for name, one in call.inputs.items() if one.dtype == object
    }
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {**call.inputs, **texts}), strict=True))


@pytest.mark.parametrize(
    "call", [one for one in zoo_calls() if one.model.startswith(("skl", "tf2onnx"))], ids=lambda one: one.id
)
def test_answers_are_onnxruntimes_own(call: ZooCall) -> None:
    """To the last bit: it is the same library."""
    loaded = PLATFORM.load(spec_of(MODELS / call.model / str(call.version)))
    expected = in_process(call)

    answer = dict(zip(expected, loaded.run(call.inputs, [*expected]), strict=True))

    for name, array in expected.items():
        if isinstance(array, list):
            labels = sorted(array[0])
            assert answer[name].tolist() == [[row[label] for label in labels] for row in array]
        else:
            wanted = [one.encode() for one in array.tolist()] if array.dtype == object else array.tolist()
            assert answer[name].tolist() == wanted


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        (TensorProto.FLOAT, X),
        (TensorProto.DOUBLE, X.astype(np.float64)),
        (TensorProto.FLOAT16, X.astype(np.float16)),
        (TensorProto.BOOL, X > 2),
        (TensorProto.STRING, np.array([[b"K\xc3\xb6ln", b""], [b"a\0b", b"\0"]], object)),
        *((getattr(TensorProto, one.upper()), X.astype(one)) for one in ("int8", "int16", "int32", "int64")),
        *((getattr(TensorProto, one.upper()), X.astype(one)) for one in ("uint8", "uint16", "uint32", "uint64")),
    ],
)
def test_every_type_goes_in_and_comes_out(load, dtype: int, array: np.ndarray) -> None:
    """Also without rows, and of memory that is not contiguous or cannot be written."""
    loaded = load(identity(dtype))
    frozen = array.copy()
    frozen.flags.writeable = False

    for one in (array, array[:0], array[::-1], array.T, frozen):
        (answer,) = loaded.run({"x": one}, ["y"])

        assert answer.dtype == array.dtype
        assert answer.tolist() == one.tolist()


def test_metadata_shows_the_signature(load) -> None:
    """As that of a SavedModel."""
    served = load(identity(TensorProto.STRING, ("n", 2, None))).served

    shown = serving_pb2.SignatureDefMap.FromString(served.signature_def_map).signature_def[DEFAULT_SIGNATURE]

    assert (served.name, served.version) == ("m", 1)
    assert shown.method_name == "tensorflow/serving/predict"
    assert (shown.inputs["x"].name, shown.inputs["x"].dtype) == ("x", 7)
    assert [dim.size for dim in shown.inputs["x"].tensor_shape.dim] == [-1, 2, -1]


@pytest.mark.parametrize(
    ("labels", "table"),
    [
        ({"classlabels_int64s": [10, 9]}, [[2.0, 1.0], [4.0, 3.0]]),
        ({"classlabels_strings": ["b", "a"]}, [[2.0, 1.0], [4.0, 3.0]]),
        ({"classlabels_strings": ["a", "b"]}, [[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_scores_by_label_become_a_table(load, labels, table) -> None:
    """Columns in the order of labels."""
    (answer,) = load(scores(**labels)).run({"x": X}, ["y"])

    assert answer.dtype == np.float32
    assert answer.tolist() == table


def test_outputs_that_are_tensors_can_be_asked_for_beside_a_sequence(load) -> None:
    """The sequence is declared, and refused by name before it is run."""
    loaded = load(sequence())

    assert loaded.served.signatures[DEFAULT_SIGNATURE].outputs["parts"].composite == "sequence"
    assert loaded.run({"x": X}, ["y"])[0].tolist() == X.tolist()


def test_initializers_can_be_replaced_and_left_out(load) -> None:
    """Each call has its own; the model keeps its values."""
    loaded = load(plus_weights(np.array([10, 20], np.float32), value("w", shape=[2])))
    more = loaded.served.signatures[WITH_INITIALIZERS]
    left_out = {"x": X, **more.defaults}

    assert loaded.run({"x": X}, ["y"])[0].tolist() == [[11.0, 22.0], [13.0, 24.0]]
    assert loaded.run({"x": X, "w": np.ones(2, np.float32)}, ["y"])[0].tolist() == (X + 1).tolist()
    assert loaded.run(left_out, ["y"])[0].tolist() == [[11.0, 22.0], [13.0, 24.0]]


def test_a_grpc_request_may_leave_initializers_out(load) -> None:
    """Requests of the plain signature are merged into batches as ever; those with a fixed input run alone."""
    loaded = load(plus_weights(np.array([10, 20], np.float32), value("w", shape=[2])))
    request = serving_pb2.PredictRequest(model_spec={"name": "m", "signature_name": WITH_INITIALIZERS})
    request.inputs["x"].CopyFrom(to_proto(X))

    plan = plan_predict(loaded.served, request.SerializeToString())
    answer = serving_pb2.PredictResponse.FromString(plan.answer(loaded.run(plan.feeds, plan.fetches)))

    assert to_array(answer.outputs["y"]).tolist() == [[11.0, 22.0], [13.0, 24.0]]
    assert fixed_tensors(loaded.served.signatures) == {"w"}


def test_external_data_lies_beside_the_model(load, tmp_path: Path) -> None:
    """Under whatever name it was exported with."""
    loaded = load(plus_weights(np.ones(2, np.float32)), external_data="weights.bin")

    assert (tmp_path / "1" / "weights.bin").exists()
    assert loaded.run({"x": X}, ["y"])[0].tolist() == (X + 1).tolist()


def test_external_data_that_is_missing_is_named(tmp_path: Path) -> None:
    """The operator sees which file to copy."""
    folder = write(tmp_path / "1", plus_weights(np.ones(2, np.float32)), external_data="weights.bin")
    (folder / "weights.bin").unlink()

    with pytest.raises(FailedPrecondition, match=r"weights\.bin"):
        PLATFORM.load(spec_of(folder))


NO_KERNEL = model([node("Identity", "x", "y")], [value("x", TensorProto.INT4)], [value("y", TensorProto.INT4)])


@pytest.mark.parametrize(
    ("made", "error", "text"),
    [
        (b"garbage" * 100, DataLoss, "copy or export it again"),
        (identity().SerializeToString()[:-20], DataLoss, "copy or export it again"),
        (b"", InvalidArgument, "No graph was found"),
        (model([node("Nope", "x", "y")], [value("x")], [value("y")]), InvalidArgument, "No Op registered for Nope"),
        (model([node("Foo", "x", "y", domain="mine")], [value("x")], [value("y")]), InvalidArgument, "domain 'mine'"),
        (model([node("Add", "x w", "y")], [value("x")], [value("y")]), ServingError, "w"),
        (model([node("Identity", "x", "y")], [value("x")], [value("y")], ir_version=99), FailedPrecondition, "IR version"),
        (model([node("Identity", "x", "y")], [value("x")], [value("y")], opset=99), FailedPrecondition, "[Oo]pset"),
        (NO_KERNEL, Unimplemented, "implementation"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_loaded_says_why(load, tmp_path: Path, made, error, text: str) -> None:
    """With the file, and onnxruntime's words."""
    with pytest.raises(error, match=text) as failed:
        load(made)

    assert str(failed.value).startswith(f"onnxruntime cannot load {tmp_path / '1' / 'model.onnx'}: ")


@pytest.mark.parametrize("is_folder", [True, False], ids=["a folder", "nothing"])
def test_a_folder_without_the_file_is_not_found(tmp_path: Path, is_folder: bool) -> None:  # noqa: FBT001
    """Also where the name belongs to a folder."""
    if is_folder:
        (tmp_path / "model.onnx").mkdir()

    with pytest.raises(NotFound, match=r"has no file model\.onnx"):
        PLATFORM.load(spec_of(tmp_path))


def test_without_onnxruntime_the_load_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else of the server needs it."""
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "onnxruntime":
            raise ImportError("No module named 'onnxruntime'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(FailedPrecondition, match=r"pip install 'ray-model-server\[onnx\]' on every node"):
        PLATFORM.load(spec_of(write(tmp_path / "1", identity())))


def test_a_failed_load_reaches_the_watcher_with_its_code(tmp_path: Path) -> None:
    """And a file of garbage is not tried again."""
    with pytest.raises(LoadFailed) as failed:
        loaded_model(ServableSpec(ServableId("m", 1), str(write(tmp_path / "1", b"garbage"))))

    assert failed.value.code is Code.DATA_LOSS
    assert '"permanent": true' in str(failed.value)


@pytest.mark.parametrize(
    ("feeds", "fetches", "text"),
    [
        ({"x": X.astype(np.float64)}, ["y"], 'Input "x" has type double, and the model takes float'),
        ({"x": np.array([[b"a", b"b"]], object)}, ["y"], 'Input "x" has type string'),
        ({"x": X[0]}, ["y"], "Invalid rank for input: x Got: 1 Expected: 2"),
        ({"x": X[:, :1]}, ["y"], "index: 1 Got: 1 Expected: 2"),
        ({"x": X, "z": X}, ["y"], "Invalid input name: z"),
        ({"x": X}, ["nope"], "Invalid output name:nope"),
    ],
)
def test_wrong_calls_are_the_callers(load, feeds, fetches, text: str) -> None:
    """INVALID_ARGUMENT, in the words of onnxruntime or with the name of the input; the next call is answered."""
    loaded = load(identity())

    with pytest.raises(InvalidArgument, match=text):
        loaded.run(feeds, fetches)

    assert loaded.run({"x": X}, ["y"])[0].tolist() == X.tolist()


def test_a_call_without_an_input_is_refused(load) -> None:
    """Over both protocols it does not come so far."""
    with pytest.raises(ServingError, match="Required inputs"):
        load(identity()).run({}, ["y"])


@pytest.mark.parametrize(
    ("made", "feeds"),
    [
        (model([node("Add", "x z", "y")], [value("x", shape=["n"]), value("z", shape=["k"])], [value("y", shape=["n"])]), {"x": np.zeros(2, np.float32), "z": np.zeros(3, np.float32)}),
        (model([node("Reshape", "x s", "y")], [value("x")], [value("y", shape=[3])], {"s": np.array([3])}), {"x": X}),
        (model([node("Gather", "w x", "y")], [value("x", TensorProto.INT64)], [value("y")], {"w": np.zeros(2, np.float32)}), {"x": np.full((1, 2), 9)}),
    ],
    ids=["broadcast", "reshape", "gather"],
)  # fmt: skip
def test_shapes_and_indices_that_a_node_refuses_are_the_callers_too(load, made, feeds) -> None:
    """They do not count against the version, as a RuntimeFailure would."""
    with pytest.raises(ServingError) as refused:
        load(made).run(feeds, ["y"])

    assert type(refused.value) is InvalidArgument


@pytest.mark.parametrize("bad", [b"\xff\xfe", b"ok\xc3"])
def test_strings_that_are_not_utf8_are_refused(load, bad: bytes) -> None:
    """ONNX has texts where TensorFlow has bytes."""
    loaded = load(identity(TensorProto.STRING))

    with pytest.raises(InvalidArgument, match='Input "x" has a string that is not UTF-8'):
        loaded.run({"x": np.array([[b"a", bad]], object)}, ["y"])


def test_a_run_ends_at_its_deadline(load) -> None:
    """Between two nodes; the version goes on."""
    loaded = load(doubled_many_times())
    ones = np.ones(2, np.float32)

    with pytest.raises(DeadlineExceeded):
        loaded.run({"times": np.array(2**40), "x": ones}, ["y"], timeout_ms=20)

    (answer,) = loaded.run({"times": np.array(3), "x": ones}, ["y"], timeout_ms=60_000)
    assert answer.tolist() == [8.0, 8.0]


def test_nothing_is_run_for_no_outputs(load) -> None:
    """The runtime would answer all."""
    assert load(identity()).run({"x": X}, []) == []


def test_a_run_that_goes_on_is_finished_when_the_version_is_closed(load) -> None:
    """Later ones are refused."""
    loaded = load(doubled_many_times())
    feeds = {"times": np.array(200_000), "x": np.zeros(2, np.float32)}
    begun = threading.Event()

    def run() -> list[np.ndarray]:
        begun.set()
        return loaded.run(feeds, ["y"])

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run)
        begun.wait(20)
        session = loaded._session
        loaded.close()
        del session
        assert running.exception() is None or isinstance(running.exception(), Unavailable)

    with pytest.raises(Unavailable, match="is unloaded"):
        loaded.run(feeds, ["y"])


@pytest.mark.parametrize(("num_cpus", "threads"), [(0.0, 1), (3.0, 3), (0.5, 1)])
def test_a_light_model_gets_one_thread_unless_cpus_are_reserved(tmp_path: Path, num_cpus: float, threads: int) -> None:
    """As a light SavedModel does."""
    spec = spec_of(write(tmp_path / "1", identity()), num_cpus)

    assert PLATFORM._options(onnxruntime.SessionOptions(), spec).intra_op_num_threads == threads


def test_other_models_get_the_machine(tmp_path: Path) -> None:
    """A loop may take any time."""
    spec = spec_of(write(tmp_path / "1", doubled_many_times()))

    assert PLATFORM._options(onnxruntime.SessionOptions(), spec).intra_op_num_threads == usable_cpus()


def test_a_model_with_loops_is_known(tmp_path: Path) -> None:
    """How long a run takes depends on the values that it gets."""
    assert PLATFORM.load(spec_of(write(tmp_path / "1", doubled_many_times()))).served.may_loop
    assert not PLATFORM.load(spec_of(write(tmp_path / "2", identity()))).served.may_loop


def test_the_estimate_counts_external_data(tmp_path: Path) -> None:
    """A large model is not light, whatever its operations are."""
    small = write(tmp_path / "1", plus_weights(np.ones(2, np.float32)))
    large = write(tmp_path / "2", plus_weights(np.ones(300_000, np.float32)), external_data="w")

    assert PLATFORM.estimate(str(small)).is_light
    assert not PLATFORM.estimate(str(large)).is_light
    assert PLATFORM.estimate(str(large)).resident_bytes > 1_200_000
