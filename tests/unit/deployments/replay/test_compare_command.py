"""Tests of the command that compares two versions, with a gRPC server that answers for them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from core.grpc import metadata as grpc_metadata
from core.inference.dtypes import DataType
from core.inference.signature import Signature, TensorSpec, served_model
from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2
from core.recording.tf_record import framed
from deployments.cli import main
from deployments.launch.endings import INTERRUPTED
from deployments.replay import compare_command
from deployments.replay.compare_command import DIFFERENT
from tests.support.prediction_logs import predict_log, serialized

NAMES = {7: "x", 8: "x", 9: "renamed"}


class Versions:
    """Half plus two as version 7; half plus `addend` as version 8; version 9 has another name for its input."""

    def __init__(self) -> None:
        self.addend = 2.0
        self.calls: list[int] = []
        self.tokens: Counter[str] = Counter()
        self.before: Callable[[int], None] = lambda _: None
        self.server = grpc.server(ThreadPoolExecutor(2))
        handlers = {
            "Predict": grpc.unary_unary_rpc_method_handler(self.predict),
            "GetModelMetadata": grpc.unary_unary_rpc_method_handler(self.metadata),
        }
        service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)
        self.server.add_generic_rpc_handlers((service,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def metadata(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        spec = serving_pb2.GetModelMetadataRequest.FromString(raw).model_spec
        if spec.name != "h2" or spec.version.value not in NAMES:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({spec.name})")
        column = TensorSpec("t:0", DataType.FLOAT, (-1, 1))
        signature = Signature({NAMES[spec.version.value]: column}, {"y": column})
        return grpc_metadata.respond(served_model("h2", spec.version.value, {"serving_default": signature}), raw)

    def predict(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        request = serving_pb2.PredictRequest.FromString(raw)
        version = request.model_spec.version.value
        self.calls.append(version)
        self.tokens[dict(context.invocation_metadata()).get("authorization", "")] += 1
        self.before(len(self.calls))
        if NAMES[version] not in request.inputs:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no input {NAMES[version]}")
        values = to_array(request.inputs["x"]) * 0.5 + (self.addend if version == 8 else 2.0)
        answer = serving_pb2.PredictResponse()
        answer.model_spec.version.value = version
        answer.outputs["y"].CopyFrom(to_proto(values.astype(np.float32)))
        return answer.SerializeToString()


@pytest.fixture
def versions() -> Iterator[Versions]:
    made = Versions()
    made.server.start()
    yield made
    made.server.stop(None).wait()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A request log with six requests."""
    file = tmp_path / "log.tfrecord"
    file.write_bytes(b"".join(map(framed, serialized([predict_log(float(value)) for value in range(6)]))))
    return file


@pytest.fixture
def compare(versions: Versions) -> Callable[..., int]:
    """Run the command."""

    def run(*arguments: object) -> int:
        return main(["compare", *map(str, arguments), "--server", f"127.0.0.1:{versions.port}"])

    return run


Compare = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def test_versions_that_answer_alike_are_the_same(
    compare: Compare, versions: Versions, log: Path, capsys: Capture
) -> None:
    """Each request is put twice to both, in turns of which the first is reversed each time."""
    assert compare("h2", 7, 8, "--requests", log) == 0

    text = capsys.readouterr().out
    assert text.startswith("h2: version 8 against version 7\n6 requests of")
    assert "SAME: " in text
    assert versions.calls[2:10] == [7, 8, 7, 8, 8, 7, 8, 7]
    assert len(versions.calls) == 2 + 6 * 4


def test_versions_that_answer_differently_end_with_another_status(
    compare: Compare, versions: Versions, log: Path, capsys: Capture
) -> None:
    """A pipeline stops there."""
    versions.addend = 2.5

    assert compare("h2", 7, 8, "--requests", log, "--json") == DIFFERENT
    document = json.loads(capsys.readouterr().out)
    assert document["because"] == ["6 of 6 answers are outside of the tolerance"]

    assert compare("h2", 7, 8, "--requests", log, "--atol", 0.6) == 0
    assert compare("h2", 7, 8, "--requests", log, "--allow-outside", 100) == 0


def test_a_renamed_input_is_told_as_the_reason(compare: Compare, log: Path, capsys: Capture) -> None:
    """The errors alone would not say what to do."""
    assert compare("h2", 7, 9, "--requests", log) == DIFFERENT

    text = " ".join(capsys.readouterr().out.split())
    assert 'input "x" (float32 (None, 1)) is now called "renamed"' in text
    assert "6 of 6 answers fail in 9 alone" in text


def test_a_report_is_written_whole(compare: Compare, log: Path, tmp_path: Path, capsys: Capture) -> None:
    """An older one is replaced; what is printed does not change, so that JSON stays JSON."""
    report = tmp_path / "report.html"
    report.write_text("old")

    assert compare("h2", 7, 8, "--requests", log, "--json", "--report", report) == 0

    json.loads(capsys.readouterr().out)
    assert report.read_text().endswith("</html>\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log.tfrecord", "report.html"]


@pytest.mark.parametrize("place", ["gone/report.html", "."])
def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    compare: Compare, versions: Versions, log: Path, tmp_path: Path, place: str
) -> None:
    """The work may take an hour."""
    assert compare("h2", 7, 8, "--requests", log, "--report", tmp_path / place) == 1
    assert versions.calls == []


def test_no_more_requests_are_put_than_wanted(compare: Compare, versions: Versions, log: Path, capsys: Capture) -> None:
    """And that is told."""
    assert compare("h2", 7, 8, "--requests", log, log, "--limit", 2) == 0

    assert len(versions.calls) == 2 + 2 * 4
    assert "there are more than 2 requests" in capsys.readouterr().out


def test_several_files_are_one_comparison(compare: Compare, log: Path, capsys: Capture) -> None:
    """A log has a file for each replica and some minutes."""
    assert compare("h2", 7, 8, "--requests", log, log) == 0
    assert "12 requests of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("h2", 7, 77), "Servable not found"),
        (("gone", 7, 8), "Servable not found"),
        (("h2", 7, 8, "--token-file", "/gone"), "cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    compare: Compare, log: Path, capsys: Capture, arguments: tuple[object, ...], text: str
) -> None:
    """With the server's reason."""
    assert compare(*arguments, "--requests", log) == 1
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"text", b"{}"])
def test_a_file_that_holds_no_request_is_refused(
    compare: Compare, versions: Versions, tmp_path: Path, capsys: Capture, content: bytes
) -> None:
    """Before any request is sent."""
    file = tmp_path / "file"
    file.write_bytes(content)

    assert compare("h2", 7, 8, "--requests", file) == 1
    assert str(file) in capsys.readouterr().err
    assert versions.calls == []


def test_a_file_that_is_not_there_is_refused(compare: Compare, tmp_path: Path, capsys: Capture) -> None:
    """A folder is no file either."""
    for file in (tmp_path / "gone", tmp_path):
        assert compare("h2", 7, 8, "--requests", file) == 1
        assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("h2", 7),
        ("h2", "seven", 8),
        ("h2", 7, 8),
        ("h2", 7, 8, "--requests"),
        ("h2", 7, 8, "--requests", "f", "--rtol", "nan"),
        ("h2", 7, 8, "--requests", "f", "--atol", "-1"),
        ("h2", 7, 8, "--requests", "f", "--atol", "inf"),
        ("h2", 7, 8, "--requests", "f", "--allow-outside", "101"),
        ("h2", 7, 8, "--requests", "f", "--limit", "0"),
        ("h2", 7, 8, "--requests", "f", "--limit", "9" * 5000),
        ("h2", 7, 8, "--requests", "f", "--timeout", "soon"),
    ],
)
def test_wrong_arguments_end_with_status_two(compare: Compare, capsys: Capture, arguments: tuple[object, ...]) -> None:
    """As in every command."""
    with pytest.raises(SystemExit) as ended:
        compare(*arguments)

    assert ended.value.code == 2
    assert "usage: " in capsys.readouterr().err


def test_where_no_server_answers_the_advice_is_that_of_all_commands(log: Path, capsys: Capture) -> None:
    """With their status."""
    assert main(["compare", "h2", "7", "8", "--requests", str(log), "--server", "127.0.0.1:1"]) == 3
    assert "Name another one with --server" in capsys.readouterr().err


def test_what_was_compared_is_shown_when_the_server_goes(
    compare: Compare, versions: Versions, log: Path, capsys: Capture
) -> None:
    """Hours may lie behind."""

    def stop(call: int) -> None:
        if call == 2 + 4 * 2 + 1:
            versions.server.stop(0)

    versions.before = stop

    assert compare("h2", 7, 8, "--requests", log) == 3
    text = capsys.readouterr().out
    assert text.splitlines()[1].startswith("2 requests") or "3 requests" in text
    assert "the rest was not read: No Ray Model Server answers" in text


def test_what_was_compared_is_shown_when_somebody_stops_it(
    compare: Compare, log: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is for those who have seen enough."""

    class Interrupting(compare_command.VersionCalls):
        asked = 0

        def ask(self, *arguments):
            Interrupting.asked += 1
            if Interrupting.asked > 2 + 4 * 3:
                raise KeyboardInterrupt
            return super().ask(*arguments)

    monkeypatch.setattr(compare_command, "VersionCalls", Interrupting)

    assert compare("h2", 7, 8, "--requests", log) == INTERRUPTED
    text = capsys.readouterr().out
    assert "3 requests of" in text
    assert "the rest was not read: it was interrupted" in text


def test_the_token_of_the_caller_is_sent(compare: Compare, versions: Versions, log: Path, tmp_path: Path) -> None:
    """Where a server has an access file, it decides who may ask."""
    token = tmp_path / "token"
    token.write_text("secret\n")

    assert compare("h2", 7, 8, "--requests", log, "--token-file", token) == 0
    assert versions.tokens.keys() == {"Bearer secret"}
