"""Versions that are Python code: what is loaded, how calls end, and what is told of code that is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.config.model_config import BatchingParameters
from core.errors import Code, FailedPrecondition, InvalidArgument, RuntimeFailure, ServingError, Unavailable
from core.inference.signature import DEFAULT_SIGNATURE, Signature, signature
from core.platforms.platform import Loaded
from core.protos import serving_pb2
from core.versions.load_report import LoadStep, is_permanent
from deployments.inference.answering import Answering
from deployments.platforms.contract import CHECKS, Check, PlatformCase, Request
from deployments.platforms.python import PLATFORM
from deployments.platforms.registry import platform_of
from tests.support.infer_bodies import FORMS, arrays_of, bits, infer_call
from tests.support.python_models import ECHO, python_spec, with_predict, write_model

ROWS = np.ones((3, 2), np.float32)


@pytest.fixture(autouse=True)
def unchanged_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What loading does to the process of a version must not stay with the tests."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith(("python_servable_", "beside_")):
            del sys.modules[name]


def loaded(folder: Path, text: str = ECHO, **beside: str) -> Loaded:
    """Write and load a version."""
    return PLATFORM.load(python_spec(write_model(folder, text, **beside)))


def predict(folder: Path, *lines: str) -> list[np.ndarray]:
    """Call a version whose `predict` has these lines."""
    return loaded(folder, with_predict(*lines)).run({"x": ROWS}, ["y"])


def test_a_version_answers_as_its_class_does(tmp_path: Path) -> None:
    """Names of tensors are those of the declaration; `load` got the folder."""
    model = loaded(tmp_path / "1", with_predict('return {"y": inputs["x"] * 2 + len(self.path)}'))

    (output,) = model.run({"x": ROWS}, ["y"], timeout_ms=5, in_caller_thread=True)

    assert output.tolist() == (ROWS * 2 + len(str(tmp_path / "1"))).tolist()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_to_the_contract_of_platforms(tmp_path: Path, check: Check) -> None:
    """As every platform does."""
    spec = python_spec(write_model(tmp_path / "1", with_predict('return {"y": inputs["x"] * 2}')))
    requests = tuple(Request({"x": rows}, {"y": rows * 2}) for rows in (ROWS, ROWS[:1] * 7))

    check(PlatformCase(PLATFORM, spec.path, requests, settings=spec.settings))


@pytest.mark.parametrize("form", FORMS)
def test_p_it_answers_every_form_of_an_inference(tmp_path: Path, form: str) -> None:
    """The class gets the same arrays, whichever protocol asked."""
    answering = Answering(loaded(tmp_path / "1", with_predict('return {"y": inputs["x"] * 2}')))
    call = infer_call(form, {"x": ROWS})

    answer = answering.at_once(call)

    assert answer.code is Code.OK, answer.text
    assert bits(arrays_of(call.method, answer.body)) == bits({"y": ROWS * 2})


@pytest.mark.parametrize("form", FORMS)
def test_what_its_code_raises_is_the_answer_to_an_inference(tmp_path: Path, form: str) -> None:
    """With the code that a prediction gets."""
    answering = Answering(loaded(tmp_path / "1", with_predict('raise ValueError("too dark")')))

    answer = answering.at_once(infer_call(form, {"x": ROWS}))

    assert answer.code is Code.INVALID_ARGUMENT
    assert "too dark" in answer.text


def test_its_signature_is_the_declared_one_and_metadata_shows_it(tmp_path: Path) -> None:
    """Declarations may be made in `load`, which knows the sizes."""
    text = ECHO.replace("self.path = path", 'self.inputs = {"x": ("int64", (None, 7))}')

    served = loaded(tmp_path, text).served

    (found,) = served.signatures.values()
    assert (found.inputs["x"].shape, found.outputs["y"].shape) == ((-1, 7), (-1, 2))
    shown = serving_pb2.SignatureDefMap.FromString(served.signature_def_map)
    assert signature(shown.signature_def[DEFAULT_SIGNATURE]) == Signature(found.inputs, found.outputs)
    assert (served.name, served.version) == ("echo", 1)


def test_without_the_switch_no_line_of_it_is_run(tmp_path: Path) -> None:
    """The reason names the flag, and no further attempt is made."""
    marker = tmp_path / "ran"
    folder = write_model(tmp_path / "1", f"open({str(marker)!r}, 'w')\n{ECHO}")

    with pytest.raises(ServingError, match="--allow_python_servables") as refused:
        PLATFORM.load(python_spec(folder, allowed=False))

    assert is_permanent(LoadStep.GRAPH, refused.value.code, str(refused.value))
    assert not marker.exists()


def test_the_folder_shows_the_platform(tmp_path: Path) -> None:
    """Nothing needs to be configured for a `model.py`."""
    assert platform_of(python_spec(write_model(tmp_path))) is PLATFORM


def test_files_beside_it_can_be_imported_and_leave_no_traces(tmp_path: Path) -> None:
    """Bytecode in the folder would make another version of it."""
    text = f"import beside_model\n{with_predict('from beside_later import ONE', 'return {chr(121): inputs[chr(120)] + beside_model.TWO + ONE}')}"
    model = loaded(tmp_path / "1", text, beside_model="TWO = 2", beside_later="ONE = 1")

    (output,) = model.run({"x": ROWS}, ["y"])

    assert output.tolist() == (ROWS + 3).tolist()
    assert {path.name for path in (tmp_path / "1").iterdir()} == {"model.py", "beside_model.py", "beside_later.py"}


def test_two_versions_have_modules_of_their_own(tmp_path: Path) -> None:
    """Pickles and data classes look their module up by name."""
    text = "import dataclasses\n@dataclasses.dataclass\nclass Row:\n    size: int = {}\n" + with_predict(
        'return {"y": inputs["x"] + Row().size}'
    )
    one, two = (loaded(tmp_path / str(size), text.replace("{}", str(size), 1)) for size in (1, 2))

    assert one.run({"x": ROWS}, ["y"])[0][0, 0] == 2
    assert two.run({"x": ROWS}, ["y"])[0][0, 0] == 3


BROKEN = [
    ("class Model:\n    def load(self", r"/1/model\.py, line 2: SyntaxError: ", True),
    ("x = 1", r"/1/model\.py has no class Model", True),
    ("def Model(): pass", r"/1/model\.py has no class Model", True),
    ("class Model: pass", r"/1/model\.py: class Model has no method load", True),
    ("class Model:\n    load = print", r"/1/model\.py: class Model has no method predict", True),
    (ECHO.replace("def predict", "async def predict"), r"model\.py: Model\.predict is a coroutine function", True),
    ("import nothing_of_the_kind", r"/1/model\.py, line 1, in <module>: ModuleNotFoundError: .*nothing_of", False),
    ("import sys\nsys.exit(3)", r"/1/model\.py, line 2, in <module>: SystemExit: 3", False),
    (ECHO.replace("self.path = path", "{}[path]"), r"/1/model\.py, line 7, in load: KeyError: ", False),
    (ECHO.replace("self.path = path", "import json; json.loads('{')"), r"line 7, in load: JSONDecodeError: ", False),
    (ECHO.replace("self.path = path", "raise KeyboardInterrupt"), r"line 7, in load: KeyboardInterrupt$", False),
    (ECHO.replace("def load(self, path)", "def load(self)"), r"load\(\) takes 1 positional argument", False),
    (ECHO.replace("class Model:", "class Model:\n    def __init__(self, x): pass"), "__init__", False),
    (ECHO.replace('"float32"', '"float33"', 1), r'/1/model\.py: input "x" is declared as \(\'float33\'', True),
    (ECHO.replace("outputs =", "results ="), r"/1/model\.py: the declaration of its outputs is missing", True),
    (ECHO + "    batch = {'max_batch_size': 0}", r"/1/model\.py: batch: input_batch_size_limit must be positive", True),
]


@pytest.mark.parametrize(("text", "told", "is_final"), BROKEN)
def test_code_that_cannot_be_loaded_is_told_with_file_line_and_error(
    tmp_path: Path, text: str, told: str, is_final
) -> None:
    """What only another file can repair is not tried again; whatever else fails may pass."""
    with pytest.raises(ServingError, match=told) as refused:
        loaded(tmp_path / "1", text)

    assert is_permanent(LoadStep.GRAPH, refused.value.code, str(refused.value)) is is_final


def test_an_error_beside_the_model_is_told_with_its_own_file(tmp_path: Path) -> None:
    """The innermost line of the version's own code says most."""
    with pytest.raises(FailedPrecondition, match=r"/1/beside_broken\.py, line 2, in <module>: ZeroDivisionError: "):
        loaded(tmp_path / "1", f"import beside_broken\n{ECHO}", beside_broken="\n1 / 0")


def test_a_value_error_of_predict_refuses_the_request(tmp_path: Path) -> None:
    """Its text is the answer, as it is what the model says of its input."""
    with pytest.raises(InvalidArgument, match=r"^the rows must be positive$"):
        predict(tmp_path, 'raise ValueError("the rows must be positive")')
    with pytest.raises(InvalidArgument, match=r"^ValueError$"):
        predict(tmp_path, "raise ValueError")


def test_an_error_of_the_server_keeps_its_code(tmp_path: Path) -> None:
    """A model may refuse with any code of the tree."""
    with pytest.raises(Unavailable, match=r"^later$"):
        predict(tmp_path, "from core.errors import Unavailable", 'raise Unavailable("later")')


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1 + 'a'", "TypeError: unsupported operand"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})", r"Odd: \(its text cannot be had\)"),
    ],
)
def test_any_other_error_is_a_fault_of_the_model(tmp_path: Path, line: str, told: str) -> None:
    """No error ends the process, and the text names the method and the file."""
    with pytest.raises(RuntimeFailure, match=rf"^Model\.predict of {tmp_path}/model\.py failed: {told}") as failed:
        predict(tmp_path, line)

    assert failed.value.code is Code.INTERNAL


def test_memory_that_ran_out_is_no_fault_of_the_model(tmp_path: Path) -> None:
    """Calls answer it with a code of its own."""
    with pytest.raises(MemoryError):
        predict(tmp_path, "raise MemoryError")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('return {"z": inputs["x"]}', 'lacks output "y" and has "z"'),
        ('return inputs["x"]', "returned ndarray, and not a mapping"),
        ('return {"y": [[1, 2], [3]]}', "its rows have different lengths"),
        ('return {"y": inputs["x"].T}', r"it came with shape \(2, 3\)"),
        ('return {"y": inputs["x"].astype(str)}', r'"y", declared as float32 \(None, 2\), wrongly: it came as ndarray'),
    ],
)
def test_outputs_are_checked_against_the_declaration(tmp_path: Path, line: str, told: str) -> None:
    """Otherwise the client would get what metadata does not show."""
    with pytest.raises(RuntimeFailure, match=rf"^Model\.predict of .*{told}"):
        predict(tmp_path, line)


def test_inputs_are_checked_before_the_code_sees_them(tmp_path: Path) -> None:
    """A library inside would say it in words that no client understands."""
    model = loaded(tmp_path, with_predict('raise SystemExit("must not be called")'))

    for feeds in ({"x": ROWS.astype(np.float64)}, {"x": ROWS[:, :1]}, {}, {"x": ROWS, "z": ROWS}):
        with pytest.raises(InvalidArgument):
            model.run(feeds, ["y"])


def test_inputs_may_be_changed_in_place(tmp_path: Path) -> None:
    """Arrays of a request are read-only views of its bytes."""
    rows = ROWS.copy()
    rows.flags.writeable = False
    model = loaded(tmp_path, with_predict('inputs["x"] += 1', "return {'y': inputs['x']}"))

    assert model.run({"x": rows}, ["y"])[0][0, 0] == 2
    assert rows[0, 0] == 1


def test_a_closed_version_refuses_calls_and_frees_what_it_holds(tmp_path: Path) -> None:
    """`close` of the model is called once; what it raises ends nothing."""
    text = f"{ECHO}\n    def close(self):\n        open({str(tmp_path / 'closed')!r}, 'x')\n        raise SystemExit\n"
    model = loaded(tmp_path / "1", text)

    model.close()
    model.close()

    assert (tmp_path / "closed").exists()
    with pytest.raises(Unavailable, match="is unloaded"):
        model.run({"x": ROWS}, ["y"])


def test_a_version_may_bring_its_batching(tmp_path: Path) -> None:
    """The fields are those of BatchingParameters."""
    text = f"{ECHO}\n    batch = {{'max_batch_size': 8, 'allowed_batch_sizes': [4, 8]}}"

    model = PLATFORM.load(python_spec(write_model(tmp_path / "1", text)))

    assert model.batching == BatchingParameters(8, allowed_batch_sizes=(4, 8))
    assert PLATFORM.load(python_spec(write_model(tmp_path / "2"))).batching is None


def test_its_estimate_is_the_size_of_its_files(tmp_path: Path) -> None:
    """Weights beside the code count."""
    write_model(tmp_path)
    (tmp_path / "weights").write_bytes(bytes(1000))

    assert PLATFORM.estimate(str(tmp_path)).resident_bytes == 1000 + len(ECHO)
