"""Tests of the command that makes warm-up files, with TensorFlow's half plus two."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.recording.tf_record import framed, records
from core.recording.warmup_file import FILE
from core.versions.servable import ServableId
from deployments.cli import main
from deployments.inference.execution import Execution
from deployments.inference.warm_up import warm_up
from tests.support.answering import answering
from tests.support.loaded_models import loaded
from tests.support.prediction_logs import one_of_each, predict_log, predict_request, serialized, session_run_log


@pytest.fixture
def version(saved_models: Path, tmp_path: Path) -> Path:
    """A version of half plus two, in a folder of its own."""
    folder = tmp_path / "h2" / "7"
    shutil.copytree(saved_models / "tf1_half_plus_two" / "123", folder)
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A request log with one of each kind, twice."""
    return write_log(tmp_path / "log.tfrecord", serialized(one_of_each()) * 2)


def write_log(file: Path, logged: Sequence[bytes]) -> Path:
    """Write records to a file."""
    file.write_bytes(b"".join(map(framed, logged)))
    return file


def run(*arguments: object) -> int:
    """Run the console script."""
    return main(["warmup-record", *map(str, arguments)])


def read(file: Path) -> list[bytes]:
    """Read the records of a file."""
    with file.open("rb") as stream:
        return list(records(stream))


def test_a_log_becomes_the_warm_up_file_of_a_version(
    saved_models: Path, version: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version's load then replays it."""
    assert run("--model", version, "--log", log) == 0

    with answering(Execution(loaded(saved_models, "tf1_half_plus_two", 123), 1)) as answer:
        warm_up(ServableId("h2", 7), str(version), answer)
    assert len(read(version / FILE)) == 8
    assert capsys.readouterr().out == f"wrote 8 requests to {version / FILE}\n"


def test_repetitions_and_what_does_not_fit_are_left_out(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary says how many, and why."""
    log = write_log(
        tmp_path / "log", serialized([predict_log(1.0), predict_log(1.0), session_run_log(), predict_log(2.0)])
    )

    assert run("--model", version, "--log", log, "--dedupe") == 0

    assert len(read(version / FILE)) == 2
    assert capsys.readouterr().out.splitlines()[1:] == [
        "left out 1 that came before",
        "left out 1 that cannot be replayed, one of them because: Unsupported log_type for warmup: 5",
    ]


def test_several_logs_are_read_up_to_the_limit(log: Path, tmp_path: Path) -> None:
    """Without a version, the file goes where it is wanted."""
    out = tmp_path / "new" / "requests"

    assert run("--out", out, "--log", log, log, "--limit", 10) == 0

    assert len(read(out)) == 10


def test_given_requests_come_first(version: Path, log: Path, tmp_path: Path) -> None:
    """Bodies of REST and serialized messages, whatever their files are called."""
    body, message = tmp_path / "body", tmp_path / "message"
    body.write_text('{"instances": [[5.0]]}')
    message.write_bytes(predict_request(6.0).SerializeToString())
    regress = tmp_path / "regress"
    regress.write_text('{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}')

    assert run("--model", version, "--predict", body, message, "--regress", regress, "--log", log, "--limit", 4) == 0

    assert len(read(version / FILE)) == 4


def test_a_torn_log_is_read_as_far_as_it_goes(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It belongs to a server that was killed, or that still writes."""
    log.write_bytes(log.read_bytes()[:-3])
    out = tmp_path / "out"

    assert run("--out", out, "--log", log) == 0

    assert len(read(out)) == 7
    assert f"{log}: the rest is left out: truncated record at " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"time": "2026-01-01T00:00:00Z"}\n', "corrupted record at 0; a log of TFRecords is needed"),
        (b"", "There are no requests to write"),
    ],
)
def test_what_is_no_log_makes_no_file(
    tmp_path: Path, content: bytes, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old file stays as it is, and nothing is left beside it."""
    (tmp_path / "log").write_bytes(content)
    out = tmp_path / "out" / "requests"
    out.parent.mkdir()
    out.write_bytes(b"old")

    assert run("--out", out, "--log", tmp_path / "log") == 1

    assert out.read_bytes() == b"old"
    assert [file.name for file in out.parent.iterdir()] == ["requests"]
    assert text in capsys.readouterr().err


def test_a_given_request_that_does_not_fit_is_a_mistake(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is reported with the name of its file, and nothing is written."""
    body = tmp_path / "body.json"
    body.write_text('{"instances": [{"wrong": 1.0}]}')

    assert run("--model", version, "--predict", body) == 1

    assert not (version / FILE).exists()
    assert f"ray_model_server warmup-record: {body}: " in capsys.readouterr().err


def test_more_given_requests_than_allowed_are_a_mistake(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of them is left out in silence."""
    body = tmp_path / "body.json"
    body.write_text('{"instances": [[5.0]]}')

    assert run("--model", version, "--predict", body, body, "--limit", 1) == 1

    assert "there are more requests than --limit allows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda version: (version / "saved_model.pb").unlink(), "saved_model.pb cannot be read: No such file"),
        (lambda version: (version / "saved_model.pb").write_bytes(b"\xff"), "saved_model.pb is not a SavedModel"),
    ],
    ids=["missing", "damaged"],
)
def test_a_folder_that_is_no_version_is_a_mistake(version: Path, log: Path, spoil, text: str, capsys) -> None:
    """The signatures cannot be read."""
    spoil(version)

    assert run("--model", version, "--log", log) == 1

    assert text in capsys.readouterr().err


def test_the_graph_is_chosen_by_its_tags(saved_models: Path, log: Path, tmp_path: Path, capsys) -> None:
    """As the server chooses it."""
    version = saved_models / "two_tag_sets" / "1"

    assert run("--model", version, "--out", tmp_path / "out", "--log", log, "--tags", "gpu,serve") == 0
    assert run("--model", version, "--out", tmp_path / "out", "--log", log, "--tags", "gpu") == 1

    assert "has no graph with the tags gpu, but with gpu,serve or serve" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--log", "a"], ["--out", "a", "--limit", "0"], ["--out", "a", "--limit", "1001"], ["--out", "a", "--limit", "x"]],
)
def test_arguments_that_make_no_sense_end_with_2(arguments: list[str]) -> None:
    """As usual on the command line."""
    with pytest.raises(SystemExit) as ended:
        run(*arguments)

    assert ended.value.code == 2


def test_the_command_needs_neither_ray_nor_tensorflow(log: Path, tmp_path: Path) -> None:
    """It answers at once."""
    script = (
        "import sys; from deployments.cli import main; "
        f"status = main(['warmup-record', '--out', {str(tmp_path / 'out')!r}, '--log', {str(log)!r}]); "
        "print(status, sorted({'ray', 'tensorflow', 'grpc'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 []"
