"""`ray_model_server inspect`: what it finds of versions of every kind, in folders and in a store."""

from __future__ import annotations

import functools
import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Self

import fsspec
import pytest

from core.errors import Code, RuntimeFailure
from core.inspection.unrunnable import RuntimeOperations
from deployments.cli import main
from deployments.inspection import inspection, version_folder
from deployments.inspection import runtime_operations as runtime_module
from deployments.inspection.runtime_operations import AskedRuntime
from deployments.runtime import damaged_files
from tests.support.hook_files import write_hooks
from tests.support.lite_models import LITE_MODELS
from tests.support.onnx_models import identity, write
from tests.support.original_messages import tensorflows
from tests.support.prediction_logs import one_of_each, predict_log, serialized, write_raw_warm_up, write_warm_up

SavedModel = tensorflows("tensorflow/core/protobuf/saved_model.proto", "tensorflow.SavedModel")

Found = dict[str, Any]
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


@functools.cache
def runtime_operations() -> RuntimeOperations:
    """Return what the runtime says; asking it takes half a second of a CPU each time."""
    with AskedRuntime() as asked:
        return asked.answer()


class Answered:
    """Stands for the process that was asked; `failure` is raised instead of its answer."""

    failure: RuntimeFailure | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """There is nothing to end."""

    def answer(self) -> RuntimeOperations:
        if self.failure is not None:
            raise self.failure
        return runtime_operations()


@pytest.fixture(autouse=True)
def answered(monkeypatch: pytest.MonkeyPatch) -> type[Answered]:
    """Ask the runtime once for all tests."""
    kind = type("Answered", (Answered,), {})
    monkeypatch.setattr(inspection, "AskedRuntime", kind)
    return kind


@pytest.fixture
def version(saved_models: Path, tmp_path: Path) -> Path:
    """A version that a test may change."""
    folder = tmp_path / "half_plus_two" / "7"
    shutil.copytree(saved_models / "half_plus_two" / "1", folder)
    return folder


def found(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Found:
    """Inspect, and return the document."""
    assert main(["inspect", "--json", *arguments]) == status
    document: Found = json.loads(capsys.readouterr().out)
    return document


def in_store(version: Path, capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Found:
    """Inspect a copy of a version in a store."""
    store = fsspec.filesystem("memory")
    store.put(str(version), "/inspected/m/7", recursive=True)
    try:
        return found(capsys, "memory://inspected/m", *arguments, status=status)
    finally:
        store.rm("/inspected", recursive=True)


def with_graph(version: Path, **node: str) -> Path:
    """Add a node to the graph of a version."""
    file = version / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    model.meta_graphs[0].graph_def.node.add(name="added", **node)
    file.write_bytes(model.SerializeToString())
    return version


def test_a_saved_model_is_shown(version: Path, capsys) -> None:
    """Without Python TensorFlow; all of its operations run here."""
    shown = found(capsys, str(version))

    assert (shown["model"], shown["version"], shown["platform"]) == ("half_plus_two", 7, "tensorflow")
    assert shown["signatures"]["serving_default"]["inputs"]["x"]["dtype"] == "float"
    assert shown["graphs"][0]["tags"] == ["serve"]
    assert shown["graphs"][0]["operations"]["Mul"] >= 1
    assert (shown["unrunnable_operations"], shown["problems"], shown["warm_up"]) == ([], [], None)
    assert shown["estimate"]["is_light"]
    assert shown["estimate"]["resident_bytes"] == shown["files"]["total_bytes"]


def test_of_a_base_path_the_newest_version_is_shown_unless_one_is_named(version: Path, capsys) -> None:
    """As the policy `latest` takes it."""
    shutil.copytree(version, version.with_name("12"))

    assert found(capsys, str(version.parent))["version"] == 12
    assert found(capsys, str(version.parent), "--version", "7")["version"] == 7
    error = found(capsys, str(version.parent), "--version", "8", status=1)["error"]
    assert error["message"].endswith("has no version 8; the versions there are: 7, 12")


def test_a_version_in_a_store_is_shown_without_its_variables(version: Path, capsys) -> None:
    """Their sizes are in the listing, and their values are not fetched."""
    shown = in_store(version, capsys)

    local = found(capsys, str(version))
    assert (shown["path"], shown["version"]) == ("memory://inspected/m/7", 7)
    assert shown["files"] == local["files"]
    assert shown["signatures"] == local["signatures"]
    assert shown["estimate"] == local["estimate"]


def test_what_is_too_large_to_be_fetched_is_refused(version: Path, capsys, monkeypatch) -> None:
    """Nothing fills the disk for a look."""
    monkeypatch.setattr(version_folder, "LARGEST_FETCHED_BYTES", 100)
    error = in_store(version, capsys, status=1)["error"]

    assert error["code"] == "RESOURCE_EXHAUSTED"


def test_an_operation_that_nobody_has_is_a_problem(version: Path, capsys) -> None:
    """It is found before a server would have failed to load it."""
    shown = found(capsys, str(with_graph(version, op="NobodyHasThis")), status=1)

    (operation,) = shown["unrunnable_operations"]
    assert (operation["operation"], operation["nodes"]) == ("NobodyHasThis", 1)
    assert "op_libraries" in operation["reason"]
    assert shown["problems"] == ["operations that this server cannot run: NobodyHasThis"]


def test_where_the_runtime_cannot_be_asked_the_rest_is_shown(version: Path, capsys, answered: type[Answered]) -> None:
    """A client's machine need not have it."""
    answered.failure = RuntimeFailure(Code.UNAVAILABLE, "it is not installed")

    shown = found(capsys, str(version))

    assert shown["notes"] == ["which operations cannot run is not known: it is not installed"]
    assert "serving_default" in shown["signatures"]


def test_a_runtime_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that was asked says why it ended."""
    monkeypatch.setattr(runtime_module, "MODULE", "deployments.no_such_module")

    with AskedRuntime() as asked, pytest.raises(RuntimeFailure, match=r"could not be asked .*no_such_module"):
        asked.answer()


def test_an_operation_of_a_known_package_names_it(version: Path, capsys) -> None:
    """Whether it is installed or not."""
    main(["inspect", "--json", str(with_graph(version, op="RougeL"))])

    assert json.loads(capsys.readouterr().out)["op_packages"] == ["tensorflow-text"]


def test_devices_that_nodes_are_pinned_to_are_noted(version: Path, capsys) -> None:
    """The CPU is everywhere."""
    shown = found(capsys, str(with_graph(version, op="NoOp", device="/device:GPU:1")))

    assert "/device:GPU:1" in shown["graphs"][0]["devices"]
    (note,) = shown["notes"]
    assert note.startswith("nodes are pinned to /device:GPU:1")


def test_a_place_that_only_names_a_task_is_not_a_device_to_note(version: Path, capsys) -> None:
    """Exporters write it beside calls of Python, which cannot run here."""
    pinned = with_graph(version, op="EagerPyFunc", device="/job:localhost/replica:0/task:0")

    shown = found(capsys, str(pinned), status=1)

    assert shown["notes"] == []
    assert [one["operation"] for one in shown["unrunnable_operations"]] == ["EagerPyFunc"]


def test_warm_up_records_are_counted_by_kind(version: Path, capsys) -> None:
    """As a load would replay them."""
    write_warm_up(version, serialized([predict_log(1.0), *one_of_each()]))

    shown = found(capsys, str(version))

    assert shown["warm_up"]["kinds"] == {"predict": 2, "classify": 1, "regress": 1, "multi_inference": 1}
    assert shown["warm_up"]["records"] == 5


def test_a_damaged_warm_up_file_is_a_problem(version: Path, capsys) -> None:
    """It would fail the load."""
    write_raw_warm_up(version, b"not a record at all")

    shown = found(capsys, str(version), status=1)

    (problem,) = shown["problems"]
    assert problem.startswith("warm-up: ")
    assert "TFRecord" in problem


def test_hooks_are_noted_and_not_run(version: Path, capsys) -> None:
    """They are code."""
    write_hooks(version, "raise SystemExit('was run')")

    shown = found(capsys, str(version))

    assert shown["hooks"] == "assets.extra/hooks.py"
    assert "--allow_python_servables" in shown["notes"][0]


def test_files_that_are_missing_are_a_problem(version: Path, capsys) -> None:
    """In the watcher's words; what is there is shown."""
    (version / INDEX).unlink()

    shown = found(capsys, str(version), status=1)

    assert shown["problems"] == [f"waits for {INDEX}"]
    assert "serving_default" in shown["signatures"]


@pytest.mark.parametrize("stored", [False, True], ids=["folder", "store"])
@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        (INDEX, POINTER, r"variables\.index \(63 bytes\) is a pointer of Git LFS"),
        (INDEX, b"short", r"variables\.index \(5 bytes\) is cut off or is not the index of a checkpoint"),
        (DATA, b"", r"00000-of-00001 is cut off: it has 0 bytes, and \S+index says that it has \d+"),
        (DATA, None, r"00000-of-00001 is missing: \S+index says that it has \d+ bytes"),
    ],
    ids=["pointer", "index", "data", "no data"],
)
def test_damaged_variables_are_a_problem(
    version: Path, capsys, file: str, content: bytes | None, problem: str, *, stored: bool
) -> None:
    """In the loader's words, with sizes; of a store the index alone is fetched."""
    (version / file).unlink()
    if content is not None:
        (version / file).write_bytes(content)

    shown = in_store(version, capsys, status=1) if stored else found(capsys, str(version), status=1)

    assert re.match(f"{re.escape(shown['path'])}/variables/\\S*{problem}", shown["problems"][0]), shown["problems"]
    assert len(shown["problems"]) == 1


def test_an_index_that_is_too_long_is_not_fetched(version: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it called damaged."""
    for module in (version_folder, damaged_files):
        monkeypatch.setattr(module, "LONGEST_INDEX_BYTES", 10)

    assert in_store(version, capsys)["problems"] == []


@pytest.mark.parametrize("stored", [False, True], ids=["folder", "store"])
def test_a_model_deeper_in_a_version_is_found_by_its_subpath(version: Path, capsys, *, stored: bool) -> None:
    """As by `version_subpath`; without it, a hint names the right one."""
    (version.parent / "moved").mkdir()
    version.rename(version.parent / "moved" / "model")
    (version.parent / "moved").rename(version)
    look = partial(in_store, version, capsys) if stored else partial(found, capsys, str(version.parent))

    shown = look("--subpath", "model")
    assert (shown["model"], shown["version"], shown["problems"]) == (version.parent.name if not stored else "m", 7, [])
    assert shown["path"].endswith("/7/model")
    assert "serving_default" in shown["signatures"]
    (problem,) = look(status=1)["problems"]
    assert problem.endswith("waits for saved_model.pb; a model lies in model/: add --subpath model")
    assert "set version_subpath to model" in look("--subpath", "data", status=1)["error"]["message"]


def test_of_the_folder_of_a_version_a_subpath_is_hinted_at(version: Path, capsys) -> None:
    """It is the version whose model is shown; a folder above models is not one of them."""
    inner = version / "model.savedmodel"
    inner.mkdir()
    for one in list(version.iterdir()):
        if one != inner:
            one.rename(inner / one.name)

    error = found(capsys, str(version), status=1)["error"]
    assert error["message"].endswith("add --subpath model.savedmodel")
    assert found(capsys, str(version), "--subpath", "model.savedmodel")["version"] == 7
    assert found(capsys, str(version.parent), "--version", "7", "--subpath", "model.savedmodel")["version"] == 7


def test_a_folder_of_models_is_not_taken_for_a_version(version: Path, capsys) -> None:
    """The number is a version of the model in it, and not a subpath."""
    error = found(capsys, str(version.parent.parent), status=1)["error"]

    assert "--subpath" not in error["message"]


@pytest.mark.parametrize("subpath", ["", "/data", "../7", "a//b", "s3://bucket"])
def test_a_subpath_has_the_rules_of_the_setting(version: Path, capsys, subpath: str) -> None:
    """Else it is a wrong argument."""
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(version), "--subpath", subpath])

    assert ended.value.code == 2
    assert "must be" in capsys.readouterr().err


def test_the_text_cannot_steer_a_terminal(version: Path, capsys) -> None:
    """Names of operations, and of files in an error, come out of what nobody has checked."""
    assert main(["inspect", str(with_graph(version, op="Bad\x1b[2J\nOp"))]) == 1
    assert main(["inspect", str(version / "no\x1b[2Jfile")]) == 1

    printed = capsys.readouterr()
    assert "Bad [2J Op" in printed.out
    assert "no [2Jfile" in printed.err
    assert "\x1b" not in printed.out + printed.err


def test_the_help_says_what_the_exit_status_is_of(capsys) -> None:
    """Calls of Python load, and fail when they run."""
    with pytest.raises(SystemExit):
        main(["inspect", "--help"])

    assert "1 it would fail when it is loaded or run" in capsys.readouterr().out


def test_a_graph_that_is_cut_short_is_a_problem_with_its_size(version: Path, capsys) -> None:
    """The rest of the folder is shown."""
    file = version / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:100])

    (problem,) = found(capsys, str(version), status=1)["problems"]

    assert problem.startswith(f"{file} (100 bytes) is cut off or is not a SavedModel")


def test_tags_choose_the_graph(saved_models: Path, capsys) -> None:
    """Other tags than there are would fail the load."""
    path = str(saved_models / "two_tag_sets")
    tags = [graph["tags"] for graph in found(capsys, path)["graphs"]]

    other = next(one for one in tags if one != ["serve"])
    assert found(capsys, path, "--tags", ",".join(other))["signatures"]
    shown = found(capsys, path, "--tags", "none", status=1)
    assert shown["problems"][0].startswith("there is no graph with the tags none, but with ")
    assert shown["signatures"] is None


def test_an_onnx_model_is_shown(tmp_path: Path, capsys) -> None:
    """By its runtime, as it is served."""
    write(tmp_path / "m" / "3", identity())

    shown = found(capsys, str(tmp_path / "m"))

    assert (shown["platform"], shown["version"]) == ("onnx", 3)
    (signature,) = shown["signatures"].values()
    assert [one["shape"] for one in signature["inputs"].values()] == [[-1, 2]]


def test_a_tensorflow_lite_model_is_shown(capsys) -> None:
    """Likewise."""
    shown = found(capsys, str(LITE_MODELS / "half_plus_two"))

    assert shown["platform"] == "tflite"
    assert shown["signatures"]


def test_a_damaged_onnx_model_is_a_problem(tmp_path: Path, capsys) -> None:
    """In the loader's words."""
    write(tmp_path / "m" / "3", b"nothing")

    assert found(capsys, str(tmp_path / "m"), status=1)["problems"]


def test_python_of_a_version_is_not_run(tmp_path: Path, capsys) -> None:
    """So its signature is not known."""
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text("raise SystemExit('was run')")

    shown = found(capsys, str(folder))

    assert (shown["platform"], shown["signatures"]) == ("python", None)


def test_a_folder_with_models_of_several_platforms_is_a_problem(tmp_path: Path, capsys) -> None:
    """As it is for a load."""
    folder = write(tmp_path / "m" / "1", identity())
    (folder if folder.is_dir() else folder.parent).joinpath("model.py").write_text("")

    (problem,) = found(capsys, str(tmp_path / "m"), status=1)["problems"]

    assert "models of several platforms" in problem


@pytest.mark.parametrize("path", ["missing", ".", "file"])
def test_a_path_without_a_version_says_what_was_expected(tmp_path: Path, capsys, path: str) -> None:
    """Text and exit status for people, JSON for scripts."""
    (tmp_path / "file").touch()

    assert main(["inspect", str(tmp_path / path)]) == 1
    assert capsys.readouterr().err.startswith("ray_model_server: ")
    assert found(capsys, str(tmp_path / path), status=1)["error"]["code"] == "NOT_FOUND"


def test_the_text_is_for_people(version: Path, capsys) -> None:
    """Signatures as they are called."""
    assert main(["inspect", str(version)]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith(f"half_plus_two version 7 (tensorflow): {version}\n")
    assert "signature serving_default (tensorflow/serving/predict)\n  input  x: float" in printed


def test_an_empty_path_is_not_the_present_folder(capsys) -> None:
    """It is most likely a variable that is not set."""
    with pytest.raises(SystemExit) as ended:
        main(["inspect", ""])

    assert ended.value.code == 2
    assert "PATH is empty" in capsys.readouterr().err
