"""scikit-learn through skl2onnx: classifiers with and without ZipMap, and a pipeline with a column of strings."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import skl2onnx
import sklearn
from recording import SEED, Recorder, normal
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

VERSIONS = {one.__name__: one.__version__ for one in (skl2onnx, sklearn, onnxruntime)}
zoo = Recorder(sys.argv[1], __file__, VERSIONS)
FOUR_FLOATS = [("features", FloatTensorType([None, 4]))]


def write(name: str, row: str, model, inputs, **options) -> onnxruntime.InferenceSession:
    """Convert a model to ONNX, and open it with onnxruntime."""
    content = skl2onnx.to_onnx(model, initial_types=inputs, **options).SerializeToString()
    folder = Path(zoo.model(name, row))
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def main() -> None:
    """Write three models, with onnxruntime's answers, which are scikit-learn's."""
    features = normal(90, 4)
    kinds = np.array(["setosa", "virginica", "Ähre"])[(features[:, 0] > 0).astype(int) + (features[:, 1] > 0)]

    classifier = LogisticRegression().fit(features, kinds)
    session = write("skl_zipmap", "skl-zipmap", classifier, FOUR_FLOATS)
    labels, rows = session.run(None, {"features": features[:5]})
    scores = np.array([[row[kind] for kind in classifier.classes_] for row in rows], np.float32)
    np.testing.assert_allclose(scores, classifier.predict_proba(features[:5]), rtol=1e-4)
    outputs = {"output_label": labels, "output_probability": scores}
    zoo.call("skl_zipmap", {"features": features[:5]}, outputs)

    forest = RandomForestClassifier(4, max_depth=3, random_state=SEED).fit(features, features[:, 2] > 0)
    session = write("skl_columns", "skl-columns", forest, FOUR_FLOATS, options={"zipmap": False})
    labels, scores = session.run(None, {"features": features[:5]})
    np.testing.assert_allclose(scores, forest.predict_proba(features[:5]), rtol=1e-4)
    zoo.call("skl_columns", {"features": features[:5]}, {"label": labels, "probabilities": scores})

    cities = np.array(["Ulm", "Bonn", "Köln"], object)[np.arange(90) % 3].reshape(-1, 1)
    ages = np.abs(features[:, :1]) * 40
    columns = ColumnTransformer([("city", OneHotEncoder(), [0]), ("age", StandardScaler(), [1])])
    table = np.hstack([cities, ages.astype(object)])
    pipeline = make_pipeline(columns, Ridge()).fit(table, ages[:, 0] + (cities[:, 0] == "Ulm"))
    inputs = [("city", StringTensorType([None, 1])), ("age", FloatTensorType([None, 1]))]
    session = write("skl_strings", "skl-strings", pipeline, inputs)
    sent = {"city": cities[:4], "age": ages[:4]}
    (values,) = session.run(None, sent)
    np.testing.assert_allclose(values[:, 0], pipeline.predict(table[:4]), rtol=1e-3)
    zoo.call("skl_strings", sent, {"variable": values})
    zoo.write()


if __name__ == "__main__":
    main()
