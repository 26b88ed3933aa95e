"""The models of docs/python.md, trained and called as it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_diabetes, load_iris

from core.config.model_config import BatchingParameters
from core.errors import InvalidArgument
from deployments.platforms.python import PLATFORM, PythonModel
from tests.support.project import ROOT
from tests.support.python_models import python_spec, write_model

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def unchanged_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The examples write into the present folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    monkeypatch.chdir(tmp_path)


def blocks(containing: str) -> list[str]:
    """Return the code blocks of the document that contain a text."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    return [block for block in BLOCK.findall(text) if containing in block]


def trained(library: str, folder: Path) -> PythonModel:
    """Run the training of an example, and load its model."""
    training, model = blocks(f"import {library}")
    write_model(folder, model)
    exec(compile(training, "train.py", "exec"), {})
    return PLATFORM.load(python_spec(folder))


def test_the_first_model_answers_and_refuses() -> None:
    """As its text says."""
    [text] = blocks("must be numbers")
    model = PLATFORM.load(python_spec(write_model(Path("sums/1").absolute(), text)))

    assert model.run({"x": np.array([[1, 2], [3, 4]], np.float32)}, ["sum"])[0].tolist() == [3, 7]
    with pytest.raises(InvalidArgument, match="x must be numbers"):
        model.run({"x": np.full((1, 2), np.nan, np.float32)}, ["sum"])


def test_the_batched_model_asks_for_batching() -> None:
    """With the fields of the document."""
    [text] = blocks("batch_timeout_micros")

    model = PLATFORM.load(python_spec(write_model(Path("doubled/1").absolute(), text)))

    assert model.batching == BatchingParameters(32, batch_timeout_micros=2000, num_batch_threads=1)


def test_a_model_of_scikit_learn_answers_as_its_pipeline_does() -> None:
    """Labels are texts, and probabilities become floats of 32 bits."""
    model = trained("joblib", Path("iris/1").absolute())
    rows = load_iris().data.astype(np.float32)

    labels, probabilities = model.run({"features": rows}, ["label", "probabilities"])

    pipeline = model._model.pipeline
    assert labels.tolist() == [label.encode() for label in pipeline.predict(rows)]
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(rows), rtol=1e-5)


def test_a_model_of_xgboost_answers_as_its_booster_does() -> None:
    """The number of features comes from the file."""
    model = trained("xgboost", Path("diabetes/1").absolute())
    rows = load_diabetes().data.astype(np.float32)

    [answer] = model.run({"features": rows}, ["progression"])

    booster = xgboost.Booster(model_file="diabetes/1/booster.ubj")
    np.testing.assert_allclose(answer, booster.predict(xgboost.DMatrix(rows)), rtol=1e-5)
    assert model.served.signatures["serving_default"].inputs["features"].shape == (-1, 10)
