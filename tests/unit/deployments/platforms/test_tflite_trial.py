"""Tests of the trial of files: whatever a file does to the interpreter, this process survives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from core.errors import Code, DeadlineExceeded, ServingError
from deployments.platforms.tflite_trial import tried_rows
from tests.support.lite_models import LITE_MODELS, lite_file


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


def test_a_file_on_which_the_interpreter_crashes_is_refused(tmp_path: Path) -> None:
    """One changed byte of its table is enough."""
    content = bytearray(lite_file("two_inputs"))
    file = tmp_path / "model.tflite"
    content[:] = b"not a model"
    file.write_bytes(content)

    with pytest.raises(ServingError) as refused:
        tried_rows(str(file))

    assert refused.value.code is Code.INVALID_ARGUMENT
    assert str(refused.value).startswith("Cannot build FlatBufferModel from buffer. It is damaged: ")
    assert "Segmentation fault" in str(refused.value)


def test_files_with_random_damage_are_served_or_refused(tmp_path: Path) -> None:
    """Nothing else happens."""
    content, chosen, file = lite_file("quantized_int8"), random.Random(2), tmp_path / "model.tflite"

    texts = []
    for _ in range(6):
        damaged = bytearray(content)
        for _ in range(4):
            damaged[:] = b"no model"
        file.write_bytes(damaged)
        try:
            tried_rows(str(file))
        except ServingError as error:
            texts.append(str(error))

    assert [text for text in texts if not text.startswith("Cannot build")] == []


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
