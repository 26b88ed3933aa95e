"""Types and destinations of request logs in a configuration."""

from __future__ import annotations

import pytest

from core.config.log_collectors import FORMATS, LogFormat, collector_problems

NOT_ABSOLUTE = "must be an absolute path or a URI; was {!r}"


@pytest.mark.parametrize(
    ("kind", "form"),
    [("", LogFormat.TF_RECORD), ("tf_record", LogFormat.TF_RECORD), ("json_lines", LogFormat.JSON_LINES)],
)
def test_a_type_has_a_format(kind: str, form: LogFormat) -> None:
    """An empty type is TensorFlow Serving's default."""
    assert FORMATS[kind] is form
    assert list(collector_problems(kind, "/logs/m", logs=True)) == []


@pytest.mark.parametrize("prefix", ["/logs/m", "s3://bucket/m", "gs://bucket", "memory://m"])
def test_a_destination_is_an_absolute_path_or_a_uri(prefix: str) -> None:
    """Model servers run in other folders than the console script."""
    assert list(collector_problems("", prefix, logs=True)) == []


@pytest.mark.parametrize("prefix", ["", "logs/m", "./m", "~/m", ":/m", "3s://m"])
def test_any_other_destination_is_a_mistake(prefix: str) -> None:
    """It would lead somewhere else in each process."""
    assert list(collector_problems("", prefix, logs=True)) == [("filename_prefix", NOT_ABSOLUTE.format(prefix))]


def test_a_log_without_samples_needs_no_destination() -> None:
    """TensorFlow Serving accepts one as well."""
    assert list(collector_problems("", "", logs=False)) == []


def test_an_unknown_type_has_tensorflow_servings_text() -> None:
    """Whether the log samples requests or not; both mistakes are reported at once."""
    unknown = ("type", "Cannot find LogCollector::Factory for type: kafka")

    assert list(collector_problems("kafka", "", logs=False)) == [unknown]
    assert list(collector_problems("kafka", "m", logs=True)) == [unknown, ("filename_prefix", NOT_ABSOLUTE.format("m"))]
