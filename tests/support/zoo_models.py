"""The zoo: models as exporters write them, with the calls that their exporters answered; see tests/zoo/README.md."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import ml_dtypes
import numpy as np

from core.versions.servable import ServableId
from tests.support.project import ROOT

ZOO = ROOT / "tests" / "zoo"
MODELS = ZOO / "models"


def array_of(described: dict[str, Any]) -> np.ndarray:
    """Make an array of its description; texts hold one code point for each byte."""
    values, kind = described["values"], described["dtype"]
    if kind == "string":
        flat = np.array([one.encode("latin-1") for one in values] + [None], dtype=object)[:-1]
        return flat.reshape(described["shape"])
    return np.array(values, ml_dtypes.bfloat16 if kind == "bfloat16" else kind).reshape(described["shape"])


@dataclass(frozen=True)
class ZooCall:
    """A call and what the exporter's own framework answers."""

    model: str
    version: int
    signature: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    rows: bool
    """Whether the first dimension of every tensor is the batch."""

    fixed: bool = False
    """Whether the model takes just as many rows as the call has."""

    tags: tuple[str, ...] = ("serve",)
    method: str = "predict"
    examples: tuple[dict[str, float], ...] = ()
    error: str | None = None
    """What the text of the expected error has in it; None for a call that is answered."""

    json_refused: bool = False
    """Whether the outputs have a type that TensorFlow Serving does not print as JSON."""

    grpc_only: bool = False
    """Whether the call leaves inputs with default values out, which TensorFlow Serving's JSON needs."""

    tolerance: float = 1e-5

    @classmethod
    def of(cls, model: str, record: dict[str, Any]) -> Self:
        """Read a call of the manifest."""
        tensors = {
            key: {name: array_of(one) for name, one in (record.pop(key) or {}).items()} for key in ("inputs", "outputs")
        }
        tuples = {key: tuple(record.pop(key)) for key in ("tags", "examples") if key in record}
        return cls(model=model, **tensors, **tuples, **record)

    @property
    def servable(self) -> ServableId:
        """Name under which the model is served: another set of tags is another model."""
        return ServableId("-".join((self.model, *self.tags[1:])), self.version)

    @property
    def id(self) -> str:
        """Name of the case in tests."""
        names = "-".join(self.inputs) if self.inputs else self.method
        return f"{self.servable}-{self.signature}-{names}"


@dataclass(frozen=True)
class ZooModel:
    """A model, where it comes from and what is known of it."""

    name: str
    row: str
    script: str
    made: str
    versions: dict[str, str]
    files: dict[str, str]
    calls: tuple[ZooCall, ...]
    unservable: bool = False
    """Whether the exporter writes no SavedModel."""

    layout: tuple[str, ...] = field(default=())
    """The files of the exporter's folder, where that is not a version's folder."""

    subpath: str = ""
    """Where the model lies in the folders of its versions, where these are as the exporter writes them."""


@functools.cache
def zoo_models() -> tuple[ZooModel, ...]:
    """Read the manifest."""
    entries = json.loads((ZOO / "manifest.json").read_text(encoding="utf-8"))["models"]
    return tuple(
        ZooModel(
            calls=tuple(ZooCall.of(entry["name"], record) for record in entry.pop("calls")),
            layout=tuple(entry.pop("layout", ())),
            **entry,
        )
        for entry in entries
    )


def zoo_folder(model: str, version: int) -> Path:
    """Return the folder of a version's model."""
    subpath = next(one.subpath for one in zoo_models() if one.name == model)
    return MODELS / model / str(version) / subpath


def zoo_calls() -> list[ZooCall]:
    """Return the calls of all models."""
    return [call for model in zoo_models() for call in model.calls]
