"""Which class of hooks a version has, how it is made, and what is said when that fails."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import FailedPrecondition, InvalidArgument, ServingError, Unimplemented
from core.versions.load_report import LoadStep, is_permanent
from deployments.platforms.hook_class import HOOKS_FILE, hooks_of
from tests.support.hook_files import hook_spec, imports_undone, write_hooks

SETTING = "hooks_of_a_package:Chosen"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Imports of a test are none of the next one's."""
    with imports_undone():
        yield


def write_package(folder: Path, source: str) -> None:
    """Install a module of hooks, as a runtime environment would."""
    (folder / "hooks_of_a_package.py").write_text(source, encoding="utf-8")
    sys.path.insert(0, str(folder))


def failure(tmp_path: Path, source: str) -> ServingError:
    """Return what is said of hooks that cannot be loaded."""
    write_hooks(tmp_path / "1", source)
    with pytest.raises(ServingError) as raised:
        hooks_of(hook_spec(tmp_path / "1"))
    return raised.value


@pytest.mark.parametrize("allowed", [True, False])
def test_a_version_without_hooks_has_none(tmp_path: Path, *, allowed: bool) -> None:
    """Whether they are allowed or not."""
    assert hooks_of(hook_spec(tmp_path, allowed=allowed)) is None


def test_the_file_in_the_folder_is_taken(tmp_path: Path) -> None:
    """Its class is made once, and both methods are its own."""
    write_hooks(tmp_path / "1")

    hooks = hooks_of(hook_spec(tmp_path / "1"))

    assert hooks.name == f"{HOOKS_FILE}:Hooks"
    assert hooks.preprocess.__self__ is hooks.postprocess.__self__
    assert hooks.declaration.inputs == {"text": ("string", (None,))}
    assert (hooks.declaration.has_preprocess, hooks.declaration.has_postprocess) == (True, True)


def test_the_setting_wins_over_the_file(tmp_path: Path) -> None:
    """The file is not even read."""
    write_hooks(tmp_path / "1", "raise ValueError")
    write_package(tmp_path, "class Chosen:\n    signature = 's'\n    def preprocess(self, i, c): return i\n")

    hooks = hooks_of(hook_spec(tmp_path / "1", SETTING))

    assert (hooks.name, hooks.declaration.signature, hooks.postprocess) == (SETTING, "s", None)


def test_load_is_given_the_folder_of_the_version(tmp_path: Path) -> None:
    """To read what stands beside the model; it may also decide what is declared."""
    write_hooks(
        tmp_path / "1",
        """
        from pathlib import Path

        class Hooks:
            def load(self, path):
                self.outputs = {"labels": ("string", (len(Path(path, "labels.txt").read_text().split()),))}

            def postprocess(self, outputs, context):
                return outputs
        """,
    )
    (tmp_path / "1" / "labels.txt").write_text("cat dog")

    assert hooks_of(hook_spec(tmp_path / "1")).declaration.outputs == {"labels": ("string", (2,))}


def test_modules_beside_the_file_can_be_imported_and_nothing_is_written_there(tmp_path: Path) -> None:
    """Further files would be damage to a version in the model cache."""
    file = write_hooks(tmp_path / "1", "from beside_hooks import Base\nclass Hooks(Base): pass\n")
    file.with_name("beside_hooks.py").write_text("class Base:\n    def preprocess(self, i, c): return i\n")

    hooks_of(hook_spec(tmp_path / "1"))

    assert {one.name for one in file.parent.iterdir()} == {"hooks.py", "beside_hooks.py"}


@pytest.mark.parametrize("setting", ["", SETTING])
def test_hooks_are_refused_while_code_of_models_is_not_allowed(tmp_path: Path, setting: str) -> None:
    """For good, with the flag that allows it, and without importing anything."""
    write_hooks(tmp_path / "1", "raise ValueError")

    with pytest.raises(Unimplemented, match="--allow_python_servables") as raised:
        hooks_of(hook_spec(tmp_path / "1", setting, allowed=False))

    assert (setting or HOOKS_FILE) in str(raised.value)
    assert is_permanent(LoadStep.GRAPH, raised.value.code, str(raised.value))


@pytest.mark.parametrize(
    ("source", "kind", "texts"),
    [
        ("class Hooks:\n  def", InvalidArgument, ["hooks.py, line 2: SyntaxError"]),
        ("\n\nraise KeyError('labels')", InvalidArgument, ["hooks.py, line 3, in <module>: KeyError: 'labels'"]),
        ("import sys\nsys.exit(3)", InvalidArgument, ["hooks.py, line 2, in <module>: SystemExit: 3"]),
        (
            "import no_such_library_of_pictures",
            FailedPrecondition,
            ["hooks.py, line 1, in <module>: ModuleNotFoundError", "no_such_library_of_pictures"],
        ),
        ("raise PermissionError('labels')", FailedPrecondition, ["hooks.py, line 1, in <module>: PermissionError"]),
        ("class Other: pass", InvalidArgument, ["has no class Hooks"]),
        ("def Hooks(): pass", InvalidArgument, ["has no class Hooks"]),
        ("class Hooks:\n  def __init__(self, path): pass", FailedPrecondition, ["TypeError"]),
        (
            "class Hooks:\n  def load(self, path):\n    open(path + '/l')",
            FailedPrecondition,
            ["hooks.py, line 3, in load: FileNotFound"],
        ),
        (
            "class Hooks:\n  def load(self, p):\n    exit()",
            FailedPrecondition,
            ["hooks.py, line 3, in load: SystemExit"],
        ),
        ("class Hooks:\n  async def preprocess(self, i, c): pass", InvalidArgument, ["preprocess", "asynchronous"]),
        ("class Hooks:\n  postprocess = 3", InvalidArgument, ["postprocess is not a method"]),
    ],
)
def test_hooks_that_cannot_be_loaded_say_where(tmp_path: Path, source: str, kind, texts) -> None:
    """Class, file and line; only what depends on more than the version's files may be tried again."""
    error = failure(tmp_path, source)

    assert type(error) is kind
    assert str(error).startswith(f"Hook {HOOKS_FILE}:Hooks")
    assert [one for one in texts if one not in str(error)] == []


def test_the_line_is_that_of_the_hook_and_not_of_a_library(tmp_path: Path) -> None:
    """The user can only mend the former."""
    error = failure(tmp_path, "import json\njson.loads('{')\n")

    assert f"{tmp_path}/1/{HOOKS_FILE}, line 2, in <module>: JSONDecodeError" in str(error)


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It may be installed before the next attempt."""
    with pytest.raises(
        FailedPrecondition, match=f"Hook {SETTING} cannot be loaded: ModuleNotFoundError: .*hooks_of_a_package"
    ):
        hooks_of(hook_spec(tmp_path, SETTING))


def test_a_failed_load_has_its_traceback_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The text for the operator is one line."""
    with caplog.at_level(logging.ERROR):
        error = failure(tmp_path, "def deep():\n    raise KeyError('a')\ndeep()\n")

    assert "\n" not in str(error)
    assert "in deep" in caplog.text


def test_of_a_package_the_line_in_its_module_is_named(tmp_path: Path) -> None:
    """As for a file in the folder."""
    write_package(tmp_path, "import json\n\njson.loads('{')\n")

    with pytest.raises(InvalidArgument, match=r"hooks_of_a_package.py, line 3, in <module>: JSONDecodeError"):
        hooks_of(hook_spec(tmp_path, SETTING))
