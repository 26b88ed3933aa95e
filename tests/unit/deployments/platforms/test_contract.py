"""Every platform keeps to the contract, also one that a package registers; the checks see platforms that do not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config.extensions import PlatformKind
from core.config.models_text import model_configs
from core.errors import Code, FailedPrecondition, InvalidArgument, Unavailable
from core.grpc.written_requests import Target, predict_request
from core.inference.dtypes import DataType
from core.inference.signature import Signature, TensorSpec, served_model
from core.inference.tensor_proto import to_array
from core.platforms.platform import Estimate
from core.protos import serving_pb2
from core.routing.transport import Call, Method
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.config.extension_points import extensions
from deployments.inference.answering import Answering
from deployments.inference.assembly import loaded_model
from deployments.platforms import contract
from deployments.platforms.contract import CHECKS, Check, ContractBroken, PlatformCase, Request
from deployments.platforms.registry import platform_named
from tests.support.extension_packages import install, on_path
from tests.support.infer_bodies import FORMS, arrays_of, bits, infer_call
from tests.support.lite_models import LITE_MODELS
from tests.support.platform_cases import half_plus_two_case, installed, page_block, write_package, zoo_case
from tests.support.project import ROOT

CASES: Mapping[str, Callable[[], PlatformCase]] = {
    **{name: partial(zoo_case, "tensorflow", name) for name in ("keras_functional_dict", "keras_string_lookup")},
    **{
        name: partial(zoo_case, "onnx", name)
        for name in ("skl_zipmap", "skl_columns", "skl_strings", "tf2onnx_network")
    },
    "tflite_half_plus_two": lambda: half_plus_two_case("tflite", str(LITE_MODELS / "half_plus_two" / "1")),
}
"""Versions of each platform: a further one is a line here, with a function that makes its PlatformCase."""

CHECKED = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@CHECKED
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_platform_keeps_to_the_contract(case: Callable[[], PlatformCase], check: Check) -> None:
    """Whatever runs the model."""
    check(case())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_p_a_platform_answers_every_form_of_an_inference_as_predict(
    case: Callable[[], PlatformCase], form: str
) -> None:
    """Bit for bit: no platform knows which protocol asked."""
    one = case()
    answering = Answering(one.load())
    for request in one.requests:
        predicted = answering.at_once(
            Call(Method.PREDICT, predict_request(Target("contract", signature=one.signature), request.inputs))
        )
        call = infer_call(form, request.inputs, parameters={"signature_name": one.signature})
        inferred = answering.at_once(call)

        assert inferred.code is Code.OK, inferred.text
        assert bits(arrays_of(call.method, inferred.body)) == bits(predict_arrays(predicted.body))


def predict_arrays(answer: bytes) -> dict[str, np.ndarray]:
    """Return the outputs of a PredictResponse."""
    outputs = serving_pb2.PredictResponse.FromString(answer).outputs
    return {name: to_array(one) for name, one in outputs.items()}


WEIGHTS = np.array([[1.0], [10.0]], np.float32)


@pytest.fixture
def matrix_package(tmp_path: Path) -> Iterator[Path]:
    """Install the example of docs/platforms.md, and write a version for it."""
    package, version = tmp_path / "package", tmp_path / "m" / "1"
    package.mkdir()
    version.mkdir(parents=True)
    write_package(package)
    np.save(version / "weights.npy", WEIGHTS)
    with installed(package):
        yield version


@CHECKED
def test_the_platform_of_the_page_keeps_to_the_contract(matrix_package: Path, check: Check) -> None:
    """As a package registers it."""
    arrays = (np.ones((1, 2), np.float32), np.eye(2, dtype=np.float32))
    requests = tuple(Request({"x": x}, {"y": x @ WEIGHTS}) for x in arrays)

    check(PlatformCase(platform_named("matrix"), str(matrix_package), requests))


def test_the_contract_of_the_page_runs_as_written_there(matrix_package: Path, tmp_path: Path) -> None:
    """With pytest, in another process."""
    test = tmp_path / "test_matrix_platform.py"
    test.write_text(page_block("test_matrix_platform.py"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(test)]
    paths = f"{tmp_path / 'package'}:{ROOT}"
    ran = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=110
    )

    assert f"{len(CHECKS)} passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_version_of_a_registered_platform_is_loaded(matrix_package: Path) -> None:
    """Because the configuration names it: its files are known only after its code was imported."""
    text = (
        f'model_config_list {{ config {{ name: "m" base_path: "{matrix_package.parent}" model_platform: "matrix" }} }}'
    )
    (config,) = model_configs(text, known=extensions())

    loaded = loaded_model(ServableSpec(ServableId("m", 1), str(matrix_package), config=config))

    assert loaded.run({"x": np.ones((1, 2), np.float32)}, ["y"])[0].tolist() == [[11.0]]


def test_a_platform_that_is_not_there_on_a_node_is_a_failed_load(tmp_path: Path) -> None:
    """Another node may have it; one that is broken here says why."""
    install(tmp_path, "broken", {"platforms": {"broken": "no_such_module:X"}})
    with on_path(tmp_path):
        with pytest.raises(FailedPrecondition, match=r"^Platform odd is not installed on this node$"):
            platform_named("odd")
        with pytest.raises(
            FailedPrecondition, match=r"Platform broken is not installed on this node: package broken 1\.0"
        ):
            platform_named("broken")


class Doubled:
    """A version that doubles a column of floats, and gives it back as it is; keeps to the contract."""

    def __init__(self) -> None:
        column = TensorSpec("x", DataType.FLOAT, (-1, 1))
        outputs = {"y": replace(column, tensor="y"), "z": replace(column, tensor="z")}
        self.served = served_model("contract", 1, {"serving_default": Signature({"x": column}, outputs)})
        self.is_open = True

    def run(self, feeds, fetches, *, timeout_ms=None, in_caller_thread=False) -> list[np.ndarray]:
        if not self.is_open:
            raise Unavailable("closed")
        if feeds.keys() != {"x"} or not set(fetches) <= {"y", "z"}:
            raise InvalidArgument("names")
        if feeds["x"].dtype != np.float32:
            raise InvalidArgument("type")
        return [2 * feeds["x"] if name == "y" else feeds["x"].copy() for name in fetches]

    def close(self) -> None:
        self.is_open = False


class NamesItselfWrongly(Doubled):
    def __init__(self) -> None:
        super().__init__()
        self.served = replace(self.served, name="other")


class ShowsNothing(Doubled):
    def __init__(self) -> None:
        super().__init__()
        self.served = replace(self.served, signature_def_map=b"")


class DeclaresAnotherType(Doubled):
    def __init__(self) -> None:
        super().__init__()
        outputs = {name: TensorSpec(name, DataType.DOUBLE, (-1, 1)) for name in "yz"}
        one = replace(self.served.signatures["serving_default"], outputs=outputs)
        self.served = served_model("contract", 1, {"serving_default": one})


class AnswersLists(Doubled):
    def run(self, feeds, fetches, **options) -> Any:
        return [one.tolist() for one in super().run(feeds, fetches, **options)]


class AnswersWrongly(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        return [one + 1 for one in super().run(feeds, fetches, **options)]


class KeepsItsOrder(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        return super().run(feeds, sorted(fetches), **options)


class SharesOneBuffer(Doubled):
    buffer = np.zeros((2, 1), np.float32)

    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        *others, last = super().run(feeds, fetches, **options)
        self.buffer[: len(last)] = last
        return [*others, self.buffer[: len(last)]]


class WritesToItsInput(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        outputs = super().run(feeds, fetches, **options)
        feeds["x"][...] = 0
        return outputs


class MixesCallsUp(Doubled):
    """Two calls at once see the input of the later one."""

    two = threading.Barrier(2, timeout=20)

    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        self.feeds = feeds
        self.two.wait()
        return super().run(self.feeds, fetches, **options)


class TakesAnyName(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        return super().run({"x": feeds["x"]} if "x" in feeds else feeds, fetches, **options)


class TakesAnyType(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        if feeds.keys() == {"x"} and feeds["x"].dtype == object:
            feeds = {"x": np.zeros((1, 1), np.float32)}
        return super().run(feeds, fetches, **options)


class RaisesWhatItLikes(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        if feeds.keys() == {"x"} and feeds["x"].shape[1:] != (1,):
            raise IndexError("shape")
        return super().run(feeds, fetches, **options)


class RefusesWithoutAText(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        try:
            return super().run(feeds, fetches, **options)
        except InvalidArgument:
            raise InvalidArgument("") from None


class BreaksAfterARefusal(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        try:
            return super().run(feeds, fetches, **options)
        except InvalidArgument:
            self.close()
            raise


class KnowsNoTimes(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        if options:
            raise InvalidArgument("options")
        return super().run(feeds, fetches)


class StaysOpen(Doubled):
    def close(self) -> None: ...


class ClosesAbruptly(Doubled):
    def run(self, feeds, fetches, **options) -> list[np.ndarray]:
        if not self.is_open:
            raise AttributeError("session")
        return super().run(feeds, fetches, **options)


def load_text(path: str) -> None:
    """Fail as the contract asks for what is not the one text."""
    try:
        if (Path(path) / "doubled.txt").read_text(encoding="utf-8") == "doubled":
            return
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"doubled.txt: {error}") from error
    raise InvalidArgument("doubled.txt is something else")


def size_of(path: str) -> Estimate:
    """Estimate as the contract asks."""
    return Estimate(len(path))


def refuse_nothing(path: str) -> None:
    """Load whatever is there."""


def raise_as_they_come(path: str) -> None:
    """Fail with the error of the file system."""
    (Path(path) / "doubled.txt").read_text(encoding="utf-8")


def listed(path: str) -> Estimate:
    """Fail for folders that are not there."""
    return Estimate(sum(one.stat().st_size for one in Path(path).iterdir()))


DOUBLED = PlatformKind("doubled", ("doubled.txt",))


@dataclass
class DoubledPlatform:
    """Loads versions of one of the classes above."""

    loads: Callable[[], Doubled] = Doubled
    check: Callable[[str], None] = load_text
    estimate: Callable[[str], Estimate] = size_of
    kind: PlatformKind = DOUBLED

    def load(self, spec: ServableSpec) -> Doubled:
        self.check(spec.path)
        return self.loads()


BREACHES: Sequence[tuple[Check, DoubledPlatform, str]] = (
    (contract.signatures_have_usable_names, DoubledPlatform(NamesItselfWrongly), "another name"),
    (contract.signatures_have_usable_names, DoubledPlatform(ShowsNothing), "signature_def_map"),
    (contract.answers_are_as_expected, DoubledPlatform(DeclaresAnotherType), "declared as double"),
    (contract.answers_are_as_expected, DoubledPlatform(AnswersLists), "not as an array"),
    (contract.answers_are_as_expected, DoubledPlatform(AnswersWrongly), 'gave "y"'),
    (contract.answers_come_in_the_order_of_fetches, DoubledPlatform(KeepsItsOrder), "a run for"),
    (contract.concurrent_runs_get_their_own_answers, DoubledPlatform(MixesCallsUp), "concurrent"),
    (contract.arrays_belong_to_the_caller, DoubledPlatform(SharesOneBuffer), "later runs"),
    (contract.wrong_calls_are_refused, DoubledPlatform(TakesAnyName), "an input that is not there was not refused"),
    (contract.wrong_calls_are_refused, DoubledPlatform(TakesAnyType), "another type was not refused"),
    (contract.wrong_calls_are_refused, DoubledPlatform(RefusesWithoutAText), "without a text"),
    (contract.wrong_shapes_raise_nothing_else, DoubledPlatform(RaisesWhatItLikes), "IndexError"),
    (contract.a_closed_version_is_unavailable, DoubledPlatform(StaysOpen), "was answered"),
    (contract.a_closed_version_is_unavailable, DoubledPlatform(ClosesAbruptly), "AttributeError"),
    (contract.broken_folders_are_failed_loads, DoubledPlatform(check=refuse_nothing), "not refused"),
    (contract.broken_folders_are_failed_loads, DoubledPlatform(check=raise_as_they_come), "FileNotFoundError"),
    (contract.estimates_never_fail, DoubledPlatform(estimate=listed), "not there raised FileNotFoundError"),
)
ERRORS_OF_THEIR_OWN: Sequence[tuple[Check, DoubledPlatform, type[Exception]]] = (
    (contract.arrays_belong_to_the_caller, DoubledPlatform(WritesToItsInput), ValueError),
    (contract.wrong_calls_are_refused, DoubledPlatform(BreaksAfterARefusal), Unavailable),
    (contract.times_and_threads_are_accepted, DoubledPlatform(KnowsNoTimes), InvalidArgument),
)
"""Breaches that show themselves as what a good call raises."""


@pytest.fixture
def doubled(tmp_path: Path) -> Callable[[DoubledPlatform], PlatformCase]:
    """Make cases of a version with two requests."""
    (tmp_path / "doubled.txt").write_text("doubled", encoding="utf-8")
    columns = (np.array([[1.0], [2.0]], np.float32), np.array([[3.0]], np.float32))
    requests = tuple(Request({"x": one}, {"y": 2 * one, "z": one}) for one in columns)
    return lambda platform: PlatformCase(platform, str(tmp_path), requests)


@CHECKED
def test_a_platform_that_keeps_to_the_contract_passes(doubled, check: Check) -> None:
    """So that what the next tests see comes of the one rule that a class breaks."""
    check(doubled(DoubledPlatform()))


@pytest.mark.parametrize(("check", "platform", "text"), BREACHES)
def test_a_broken_rule_is_named(doubled, check: Check, platform: DoubledPlatform, text: str) -> None:
    """By the contract's own error, with what came instead."""
    with pytest.raises(ContractBroken, match=text):
        check(doubled(platform))


@pytest.mark.parametrize(("check", "platform", "error"), ERRORS_OF_THEIR_OWN)
def test_a_good_call_that_fails_shows_its_own_error(doubled, check, platform, error) -> None:
    """Which says more than the contract could."""
    with pytest.raises(error):
        check(doubled(platform))


def test_every_check_is_broken_by_some_platform() -> None:
    """A check that nothing fails checks nothing."""
    assert {check for check, *_ in (*BREACHES, *ERRORS_OF_THEIR_OWN)} == set(CHECKS)


def test_a_version_without_the_signature_of_the_case_says_which_it_has(doubled) -> None:
    """The writer of a case has a wrong name then."""
    case = replace(doubled(DoubledPlatform()), signature="other")

    with pytest.raises(ContractBroken, match=r"has no signature other: \['serving_default'\]"):
        contract.answers_are_as_expected(case)
