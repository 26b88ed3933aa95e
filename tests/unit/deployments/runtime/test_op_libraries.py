"""Libraries of operations are opened by path or package, and nothing else is harmed by one that does not fit.

What changes a process for good, or could end it, happens in processes of their own. The answers of models with TF
Text's and YDF's operations are compared in test_zoo.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config.joined_models import joined
from core.config.model_config import ModelConfig
from core.config.server_settings import PlatformSettings, ServerSettings
from core.config.yaml_settings import read_yaml_settings
from core.errors import Code, FailedPrecondition
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inference.assembly import loaded_model
from deployments.runtime.op_libraries import open_named
from tests.support.project import ROOT
from tests.support.shared_libraries import TRIPLE, compiled, triple_library, version_of_operation
from tests.support.zoo_models import MODELS

BEGINNING = """
import json, os, sys
import numpy as np
from core.config.server_settings import PlatformSettings, ServerSettings
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inference.assembly import loaded_model

def load(path, *libraries):
    settings = ServerSettings(platforms=PlatformSettings(op_libraries=libraries))
    return loaded_model(ServableSpec(ServableId("m", 1), path, settings))

def failure(path, *libraries):
    try:
        load(path, *libraries)
    except Exception as error:
        return [type(error).__name__, int(error.args[0]), error.args[1], error.args[2]]

def opened():
    with open("/proc/self/maps") as maps:
        files = {line.split()[-1] for line in maps if ".so" in line}
    return sorted(os.path.basename(one) for one in files if "/tensorflow_text/" in one or "/ydf" in one)

def imported():
    return sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "tensorflow_text", "ydf", "ydf_tf"})
"""

ENDING = """
sys.stdout.flush()
os._exit(0)  # after a failed load TensorFlow's own threads may not survive the end of the interpreter
"""


def told_by(program: str, *arguments: str) -> Any:
    """Run a program in a process of its own; returns what it prints as JSON in the last line."""
    run = [sys.executable, "-c", BEGINNING + program + ENDING, *arguments]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def spec_of(path: Path, *libraries: str) -> ServableSpec:
    """Describe a version of a model with libraries of its own."""
    return ServableSpec(ServableId("m", 1), str(path), config=ModelConfig("m", str(path), op_libraries=libraries))


def test_an_operation_of_ones_own_is_opened_by_path(tmp_path: Path) -> None:
    """Before the graph that uses it, and once for all versions of the process."""
    library = triple_library(tmp_path / "libtriple.so", "TripleByPath")
    version = version_of_operation(tmp_path / "triple" / "1", "TripleByPath")

    for _ in range(2):
        model = loaded_model(spec_of(version, str(library)))
        (answer,) = model.run({"x:0": np.array([[1.0, -2.0]], np.float32)}, ["y:0"])
        assert answer.tolist() == [[3.0, -6.0]]


def test_the_libraries_of_the_server_serve_every_model(tmp_path: Path) -> None:
    """A link to a library that is open is the same library: its kernels are not registered twice."""
    library = triple_library(tmp_path / "libtriple.so", "TripleOfServer")
    (tmp_path / "link.so").symlink_to(library)
    version = version_of_operation(tmp_path / "triple" / "1", "TripleOfServer")
    settings = ServerSettings(platforms=PlatformSettings(op_libraries=(str(library), str(tmp_path / "link.so"))))

    model = loaded_model(ServableSpec(ServableId("m", 1), str(version), settings))

    assert model.run({"x:0": np.array(2.0, np.float32)}, ["y:0"])[0] == 6.0


def not_fitting(folder: Path) -> dict[str, tuple[str, str]]:
    """Make libraries that do not fit; returns the path of each, and a part of the text that it should get."""
    whole = compiled(folder / "plain.so", "int f(void) { return 1; }")
    (folder / "garbage.so").write_bytes(b"garbage\n" * 1000)
    (folder / "empty.so").touch()
    (folder / "cut.so").write_bytes(whole.read_bytes()[:4000])
    os.mkfifo(folder / "pipe.so")
    absent = "extern void absent_symbol(void); __attribute__((constructor)) void f(void) { absent_symbol(); }"
    compiled(folder / "old.so", absent)
    compiled(folder / "libneeded.so", "int g(void) { return 1; }")
    compiled(folder / "needs.so", "int g(void); int f(void) { return g(); }", [f"-L{folder}", "-lneeded"])
    (folder / "libneeded.so").unlink()
    unfit = "cannot be used as a library of TensorFlow operations: "
    return {
        "missing": (str(folder / "missing.so"), "is not there on this node"),
        "folder": (str(folder), "is not a file"),
        "pipe": (str(folder / "pipe.so"), "is not a file"),
        "empty": (str(folder / "empty.so"), unfit + "file too short"),
        "garbage": (str(folder / "garbage.so"), unfit + "invalid ELF header"),
        "cut": (str(folder / "cut.so"), unfit + "it is shorter than its own header says"),
        "old": (str(folder / "old.so"), unfit + "undefined symbol: absent_symbol"),
        "needs": (str(folder / "needs.so"), unfit + "libneeded.so: cannot open shared object file"),
        "plain": (str(whole), unfit + "it registers neither operations nor kernels"),
        "absent package": ("absent-package", "is not installed in the model server's environment: pip install"),
        "other package": ("six", "holds no library of TensorFlow operations: name it by its path"),
    }


CASES = ("missing", "folder", "pipe", "empty", "garbage", "cut", "old", "needs", "plain")
PACKAGE_CASES = ("absent package", "other package")
RETRIED = {"missing", "folder", "pipe", *PACKAGE_CASES}

FAIL_ALL = """
h2, given = sys.argv[1], json.loads(sys.argv[2])
failures = {name: failure(h2, path) for name, path in given.items()}
model = load(h2)
(answer,) = model.run({model.served.signatures["serving_default"].inputs["x"].tensor: np.array([4.0], np.float32)},
    [model.served.signatures["serving_default"].outputs["y"].tensor])
print(json.dumps([failures, answer.tolist()]))
"""


@pytest.fixture(scope="module")
def told(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """One process that tries all of them, and then answers with a model that needs none."""
    expected = not_fitting(tmp_path_factory.mktemp("libraries"))
    paths = {name: path for name, (path, _) in expected.items()}
    failures, answer = told_by(FAIL_ALL, str(saved_models / "half_plus_two" / "1"), json.dumps(paths))
    assert answer == [4.0]
    return expected, failures


@pytest.mark.parametrize("case", [*CASES, *PACKAGE_CASES])
def test_a_library_that_does_not_fit_is_a_failed_load(told, case: str) -> None:
    """With a text that names it, and the process goes on; only what may come late is tried again."""
    (path, text), (kind, code, message, is_permanent) = told[0][case], told[1][case]

    assert (kind, code) == ("LoadFailed", Code.FAILED_PRECONDITION)
    assert path in message
    assert text in message
    assert is_permanent is (case not in RETRIED)


OPERATIONS = """
h2, bert, folds = sys.argv[1:]
load(h2)
before = opened()
load(bert)
after = opened()
again = load(folds).run({"x:0": np.array([b"TEA"], object)}, ["y:0"])[0].tolist()
print(json.dumps([before, after, again[0].decode(), imported(), len(opened())]))
"""


def test_only_the_libraries_that_a_graph_needs_are_opened(saved_models: Path, tmp_path: Path) -> None:
    """None for a model without such operations, one file for each operation, and no Python of their packages.

    A graph in text form does not show its operations: TensorFlow names them.
    """
    folds = version_of_operation(tmp_path / "folds" / "1", "CaseFoldUTF8", "DT_STRING")
    paths = (saved_models / "half_plus_two" / "1", MODELS / "text_bert" / "1", folds)

    before, after, folded, imported, count = told_by(OPERATIONS, *map(str, paths))

    assert before == []
    names = ("_normalize_ops", "_regex_split_ops", "_trimmer_ops", "_wordpiece_tokenizer")
    assert after == [f"{name}.so" for name in names]
    assert (folded, imported, count) == ("tea", [], len(names))


FIRST = """
print(json.dumps([load(sys.argv[1]).run({"x:0": np.array([b"TEA"], object)}, ["y:0"])[0].tolist()[0].decode(), opened()]))
"""


def test_an_operation_that_tensorflow_names_is_looked_for_and_the_load_tried_again(tmp_path: Path) -> None:
    """The first load of such a graph fails inside."""
    folds = version_of_operation(tmp_path / "folds" / "1", "CaseFoldUTF8", "DT_STRING")

    assert told_by(FIRST, str(folds)) == ["tea", ["_normalize_ops.so"]]


HIDDEN = """
from importlib import metadata
whole = metadata.distribution

def distribution(name):
    if name in ("tensorflow-text", "ydf-tf"):
        raise metadata.PackageNotFoundError(name)
    return whole(name)

metadata.distribution = distribution
folds, ydf, own = sys.argv[1:]
print(json.dumps([failure(folds), failure(ydf), failure(own), failure(folds, "tensorflow-text"), opened()]))
"""


def test_without_its_package_an_operation_is_named_with_what_to_install(tmp_path: Path) -> None:
    """After TensorFlow's own text; no load is tried again. An operation that nobody knows points to the setting."""
    own = version_of_operation(tmp_path / "own" / "1", "NobodyKnows")
    paths = (MODELS / "text_case_fold" / "1", MODELS / "ydf_trees" / "1", own)

    folds, ydf, unknown, named, opened = told_by(HIDDEN, *map(str, paths))

    assert opened == []
    for (_, code, message, is_permanent), operation, said in (
        (folds, "CaseFoldUTF8", "is in package tensorflow-text, which is not installed here: pip install"),
        (folds, "CaseFoldUTF8", "'ray-model-server[text]'"),
        (ydf, "SimpleMLCreateModelResource", "'ray-model-server[forests]'"),
        (unknown, "NobodyKnows", "name the library that does in op_libraries"),
    ):
        assert (code, is_permanent) == (Code.NOT_FOUND, True)
        assert message.startswith(f"Op type not registered '{operation}' in binary running on ")
        assert said in message
    assert "op_libraries names package tensorflow-text, which is not installed" in named[2]
    assert "'ray-model-server[text]'" in named[2]


BROKEN = """
from core.platforms import op_libraries as known
from deployments.runtime import op_libraries
from pathlib import Path
op_libraries._folder_of = lambda package: Path(sys.argv[2])
print(json.dumps([failure(sys.argv[1]), failure(sys.argv[3])]))
"""


def test_a_release_that_does_not_fit_is_named_with_what_fits(tmp_path: Path) -> None:
    """As one for another TensorFlow; one without the file at all does not have the operation."""
    (tmp_path / "python" / "ops").mkdir(parents=True)
    compiled(
        tmp_path / "python" / "ops" / "_normalize_ops.so",
        "extern void of_another_tensorflow(void); void f(void) { of_another_tensorflow(); }",
        ["-Wl,-z,now"],
    )
    paths = (MODELS / "text_case_fold" / "1", tmp_path, MODELS / "ydf_trees" / "1")

    (_, code, message, is_permanent), lacking = told_by(BROKEN, *map(str, paths))

    assert (code, is_permanent) == (Code.FAILED_PRECONDITION, True)
    assert "undefined symbol: of_another_tensorflow" in message
    assert "It is of package tensorflow-text 2.21" in message
    assert "pip install 'ray-model-server[text]'" in message
    assert (
        "Package ydf-tf is installed, but its libraries do not have operation SimpleMLCreateModelResource" in lacking[2]
    )


def package(folder: Path, name: str, files: Mapping[str, Path]) -> None:
    """Install a package by hand: its files, and the record of them."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / name).mkdir()
    for file, source in files.items():
        (folder / name / file).write_bytes(source.read_bytes())
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    record = "".join(f"{name}/{file},,\n" for file in (*files, "gone.so"))
    (about / "RECORD").write_text(record, encoding="utf-8")


def test_a_package_that_is_not_known_is_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For libraries that need TensorFlow's; extension modules of Python and other libraries stay closed."""
    files = {
        "_ops.so": triple_library(tmp_path / "ops.so", "TripleOfPackage"),
        "other.so": compiled(tmp_path / "other.so", "int f(void) { return 1; }"),
        "module.cpython-311-x86_64-linux-gnu.so": triple_library(tmp_path / "module.so", "TripleOfModule"),
    }
    package(tmp_path / "site", "triple_ops", files)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    version = version_of_operation(tmp_path / "triple" / "1", "TripleOfPackage")

    model = loaded_model(spec_of(version, "triple-ops"))

    assert model.run({"x:0": np.array(2.0, np.float32)}, ["y:0"])[0] == 6.0
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    assert "triple_ops/_ops.so" in maps
    assert "triple_ops/other.so" not in maps
    assert "triple_ops/module" not in maps


def test_nothing_named_opens_nothing() -> None:
    """Not even TensorFlow's own library."""
    program = (
        "import deployments.runtime.library as library, deployments.runtime.op_libraries as ops; ops.open_named(())"
    )
    program += "; import sys; sys.exit(bool(library._opened))"

    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_library_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of another user."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.so").touch()
    monkeypatch.setattr("builtins.open", refused)

    with pytest.raises(FailedPrecondition, match=r"x\.so cannot be read: Permission denied"):
        open_named([str(tmp_path / "x.so")])


def test_the_example_of_the_documents_builds_and_serves_an_operation(tmp_path: Path) -> None:
    """By its own command and settings, but for folders, and in C: a compiler for C++ need not be here."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.split("## Libraries of operations")[1].split("\n## ")[0]
    command, settings = (section.split(f"```{kind}\n")[1].split("```")[0] for kind in ("bash", "yaml"))
    (tmp_path / "triple.c").write_text(TRIPLE.replace("OPERATION", "TripleOfExample"), encoding="utf-8")
    for before, after in (
        (".venv/bin/python", sys.executable),
        ("g++ -std=c++17", "gcc"),
        ("triple.cc", "triple.c"),
        ("/opt/ops", str(tmp_path)),
    ):
        assert before in command
        command = command.replace(before, after)
    subprocess.run(["bash", "-euc", command], check=True, cwd=tmp_path)
    (config,) = joined((), read_yaml_settings(settings.replace("/opt/ops", str(tmp_path))))
    version = version_of_operation(tmp_path / "triples" / "1", "TripleOfExample")

    model = loaded_model(ServableSpec(ServableId("triples", 1), str(version), config=config))

    assert model.run({"x:0": np.array(5.0, np.float32)}, ["y:0"])[0] == 15.0
