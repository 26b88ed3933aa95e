"""Loading: what a version declares, and what an operator reads when its directory is broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from core.config.server_settings import SessionSettings
from core.config.session_options import session_config
from core.errors import Code, NotFound, RuntimeFailure, Unimplemented
from core.inference.dtypes import DataType
from core.inference.signature import CLASSIFY_METHOD, PREDICT_METHOD, REGRESS_METHOD, TensorSpec
from core.protos import serving_pb2
from deployments.runtime.saved_model import load
from deployments.runtime.signature_file import may_loop
from tests.support.loaded_models import SERVE, call, load_fresh, loaded


@pytest.fixture
def copy_of_half_plus_two(saved_models: Path, tmp_path: Path) -> Path:
    """Copy a version, to be broken."""
    return Path(shutil.copytree(saved_models / "half_plus_two" / "1", tmp_path / "broken" / "1"))


def failure_of(path: Path, tags: frozenset[str] = SERVE) -> RuntimeFailure:
    """Load something that TensorFlow refuses."""
    with pytest.raises(RuntimeFailure) as failure:
        load_fresh(path, tags)
    return failure.value


def test_the_signatures_are_those_of_the_graph(saved_models: Path) -> None:
    """Names, types, shapes and methods come from the SavedModel."""
    served = loaded(saved_models, "tf1_half_plus_two", 123).served

    assert (served.name, served.version) == ("tf1_half_plus_two", 123)
    assert served.signatures["serving_default"].inputs == {"x": TensorSpec("x:0", DataType.FLOAT, (-1, 1))}
    assert {key: signature.method for key, signature in served.signatures.items()} == {
        "serving_default": PREDICT_METHOD,
        "regress_x_to_y": REGRESS_METHOD,
        "regress_x_to_y2": REGRESS_METHOD,
        "classify_x_to_y": CLASSIFY_METHOD,
        "classify_with_labels": CLASSIFY_METHOD,
        "regress_x2_to_y3": REGRESS_METHOD,
        "classify_x2_to_y3": CLASSIFY_METHOD,
    }


def test_an_input_of_any_rank_has_no_shape(saved_models: Path) -> None:
    """Unknown rank is not the same as a scalar."""
    signature = loaded(saved_models, "half_plus_two").served.signatures["serving_default"]

    assert signature.inputs["x"].shape is None
    assert loaded(saved_models, "slow").served.signatures["serving_default"].inputs["iterations"].shape == ()


def test_the_metadata_holds_all_signatures_even_the_initializer(saved_models: Path) -> None:
    """GetModelMetadata answers with everything that the SavedModel declares."""
    served = loaded(saved_models, "half_plus_two").served
    definitions = serving_pb2.SignatureDefMap.FromString(served.signature_def_map).signature_def

    assert set(definitions) == set(served.signatures) == {"serving_default", "__saved_model_init_op"}
    initializer = definitions["__saved_model_init_op"].outputs["__saved_model_init_op"]
    assert (initializer.name, initializer.dtype) == ("NoOp", DataType.INVALID)


def test_a_model_without_signatures_loads(saved_models: Path) -> None:
    """It cannot be called by signature, but it is no error."""
    assert set(loaded(saved_models, "no_signatures").served.signatures) <= {"__saved_model_init_op"}


def test_assets_are_found_beside_the_model(saved_models: Path) -> None:
    """A table that is filled from a file works after the load."""
    answer = call(loaded(saved_models, "vocabulary"), {"words": np.array([b"two", b"?"], object)})

    assert answer["ids"].tolist() == [2, -1]


@pytest.mark.parametrize("tags", [{"serve"}, {"serve", "gpu"}], ids=["serve", "serve_gpu"])
def test_each_tag_set_can_be_loaded(saved_models: Path, tags: set[str]) -> None:
    """The whole set of tags chooses the meta graph."""
    model = load_fresh(saved_models / "two_tag_sets" / "1", frozenset(tags))

    assert call(model, {"x": np.array([[2.0]], np.float32)})["y"].tolist() == [[3.0]]


@pytest.mark.parametrize("tags", [set(), {"gpu"}, {"serve", "tpu"}], ids=["none", "part", "other"])
def test_wrong_tags_are_refused_in_tensorflows_words(saved_models: Path, tags: set[str]) -> None:
    """The text says which tags were looked for, and how to see those that are there."""
    failure = failure_of(saved_models / "two_tag_sets" / "1", frozenset(tags))

    assert failure.code is Code.NOT_FOUND
    assert str(failure).startswith("Could not find meta graph def matching supplied tags: {")
    assert str(failure).endswith(
        "To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )
    assert all(tag in str(failure) for tag in tags)


@pytest.mark.parametrize("exists", [False, True], ids=["missing", "empty"])
def test_a_directory_without_a_saved_model_is_refused_as_tensorflow_serving_does(
    tmp_path: Path, *, exists: bool
) -> None:
    """The text names the file that is wanted and the directory that was looked at."""
    path = tmp_path / "model" / "1"
    if exists:
        path.mkdir(parents=True)

    with pytest.raises(NotFound) as failure:
        load_fresh(path)

    assert str(failure.value) == (
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
        f"`saved_model.pb`)\nSpecified file path: {path}"
    )


def test_a_session_bundle_is_refused_as_tensorflow_serving_does(copy_of_half_plus_two: Path) -> None:
    """The format before SavedModel is gone."""
    (copy_of_half_plus_two / "export.meta").touch()

    with pytest.raises(Unimplemented) as failure:
        load_fresh(copy_of_half_plus_two)

    assert str(failure.value) == "Session Bundle is deprecated and removed."


def test_random_bytes_for_a_model_are_an_error_not_a_crash(copy_of_half_plus_two: Path) -> None:
    """TensorFlow says which file it could not parse."""
    (copy_of_half_plus_two / "saved_model.pb").write_bytes(np.random.default_rng(1).bytes(5000))

    failure = failure_of(copy_of_half_plus_two)

    assert failure.code is Code.DATA_LOSS
    assert "saved_model.pb" in str(failure)


def test_an_operation_that_this_tensorflow_lacks_is_named(copy_of_half_plus_two: Path) -> None:
    """As with a model that needs custom operations."""
    file = copy_of_half_plus_two / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"\x12\x05AddV2", b"\x12\x05AxxV2"))

    failure = failure_of(copy_of_half_plus_two)

    assert failure.code is Code.NOT_FOUND
    assert "Op type not registered 'AxxV2'" in str(failure)


def test_missing_values_of_variables_fail_the_load(copy_of_half_plus_two: Path) -> None:
    """TensorFlow itself misses the file."""
    for file in (copy_of_half_plus_two / "variables").glob("*.data-*"):
        file.unlink()

    failure = failure_of(copy_of_half_plus_two)

    assert failure.code is Code.NOT_FOUND
    assert "variables.data" in str(failure)


def test_a_missing_list_of_variables_fails_the_load(copy_of_half_plus_two: Path) -> None:
    """TensorFlow would load the version, and fail in every call of it."""
    shutil.rmtree(copy_of_half_plus_two / "variables")

    with pytest.raises(NotFound, match=r"model has variables, but .* is missing: .*variables\.index"):
        load_fresh(copy_of_half_plus_two)


def test_a_model_without_variables_needs_no_list_of_them(saved_models: Path, tmp_path: Path) -> None:
    """TensorFlow Serving serves such a model, and so do we."""
    path = Path(shutil.copytree(saved_models / "matrix" / "1", tmp_path / "matrix" / "1"))
    shutil.rmtree(path / "variables")

    assert call(load_fresh(path), {"x": np.zeros((1, 3), np.float32)})["y"].tolist() == [[0.0, 0.0]]


def test_a_broken_session_config_is_refused(saved_models: Path) -> None:
    """Settings that TensorFlow cannot read are not ignored."""
    with pytest.raises(RuntimeFailure) as failure:
        load(str(saved_models / "matrix" / "1"), tags=SERVE, name="m", version=1, session_config=b"\xff\xff")

    assert failure.value.code is Code.INVALID_ARGUMENT


def test_the_session_takes_the_servers_settings(saved_models: Path) -> None:
    """What the flags say is in a form that TensorFlow reads."""
    config = session_config(SessionSettings(intra_op_threads=1, inter_op_threads=1, gpu_memory_fraction=0.25))

    model = load(str(saved_models / "matrix" / "1"), tags=SERVE, name="m", version=1, session_config=config)

    assert call(model, {"x": np.zeros((0, 3), np.float32)})["y"].shape == (0, 2)


def test_loading_and_running_never_import_python_tensorflow(saved_models: Path) -> None:
    """The runtime library is all that is used."""
    call(loaded(saved_models, "half_plus_two"), {"x": np.ones(1, np.float32)})

    assert "tensorflow" not in sys.modules


def test_a_graph_with_loops_is_known(saved_models: Path) -> None:
    """Also where they are in functions; one that cannot be read may have some."""
    assert loaded(saved_models, "slow").served.may_loop
    assert not loaded(saved_models, "half_plus_two").served.may_loop
    assert may_loop(saved_models / "nothing")


MIRRORED = """
    import sys
    import tensorflow as tf

    class Line(tf.Module):
        def __init__(self):
            self.slope, self.offset = tf.Variable(0.5), tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def line(self, x):
            return {"y": self.slope * x + self.offset}

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        line = Line()
    tf.saved_model.save(line, sys.argv[1], signatures=line.line)
"""


def test_a_model_of_mirrored_variables_is_served(tmp_path: Path) -> None:
    """Those that were trained on several devices are saved from there."""
    folder = tmp_path / "m" / "1"
    subprocess.run([sys.executable, "-c", textwrap.dedent(MIRRORED), folder], check=True, capture_output=True)

    assert call(load_fresh(folder), {"x": np.array([2.0], np.float32)})["y"].tolist() == [3.0]
