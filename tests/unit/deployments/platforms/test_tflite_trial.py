"""Tests of the trial of files: whatever a file does to the interpreter, this process survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Code, DeadlineExceeded, ServingError
from deployments.platforms.tflite_trial import tried_rows
from tests.support.lite_models import LITE_MODELS


def path_of(name: str) -> str:
    return str(LITE_MODELS / name / "1" / "model.tflite")


def test_a_trial_tells_whether_the_number_of_rows_is_free() -> None:
    """By the file, or by trying."""
    assert tried_rows(path_of("half_plus_two"))
    assert tried_rows(path_of("named"))
    assert not tried_rows(path_of("fixed_rows"))


def test_a_model_that_fails_on_empty_inputs_is_not_refused() -> None:
    """Its callers may have better ones."""
    assert tried_rows(path_of("words"))


def test_a_trial_whose_process_ends_by_a_signal_refuses_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would when the interpreter crashed; here the process ends itself before it reads the file."""
    ends_itself = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    (tmp_path / "sitecustomize.py").write_text(ends_itself, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(ServingError) as refused:
        tried_rows(path_of("named"))

    assert refused.value.code is Code.INVALID_ARGUMENT
    assert str(refused.value).startswith("Cannot build FlatBufferModel from buffer. It is damaged: ")
    assert "Segmentation fault" in str(refused.value)


def test_errors_of_the_trial_keep_their_code_and_text(tmp_path: Path) -> None:
    """They are those of loading."""
    file = tmp_path / "model.tflite"
    file.write_bytes(b"not a model at all")

    with pytest.raises(ServingError, match=r"^Cannot build FlatBufferModel from buffer\. ") as refused:
        tried_rows(str(file))
    assert refused.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(ServingError, match=r"^Cannot build Interpreter from buffer\. ") as refused:
        tried_rows(path_of("unknown_operation"))
    assert refused.value.code is Code.INTERNAL


def test_a_trial_that_does_not_end_is_ended() -> None:
    """A damaged loop may turn for ever."""
    with pytest.raises(DeadlineExceeded, match="took more than 0 s"):
        tried_rows(path_of("named"), timeout_s=0.001)


def test_a_file_that_has_gone_is_refused(tmp_path: Path) -> None:
    """The text names what went wrong."""
    with pytest.raises(ServingError, match="FileNotFoundError"):
        tried_rows(str(tmp_path / "model.tflite"))
