"""Hints at what lies where a SavedModel is expected: other formats, a level too many or too few, incomplete copies.

All functions take paths of files relative to the folder in question. A hint begins with a verb ("holds ...") and ends
with what to do next; it is empty where nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
EXPORT = "write a SavedModel with model.export(folder)"

_KINDS: Mapping[str, str] = MappingProxyType(
    {
        ".keras": f"a Keras archive and not a SavedModel: load it with Keras and {EXPORT}",
        ".weights.h5": f"weights without a model: load them into their Keras model and {EXPORT}",
        ".h5": f"a Keras file and not a SavedModel: load it with Keras and {EXPORT}",
        ".hdf5": f"a Keras file and not a SavedModel: load it with Keras and {EXPORT}",
        ".onnx": "an ONNX model and not a SavedModel: convert it, or export the model from its framework again",
        ".tflite": "a TensorFlow Lite model and not a SavedModel: export the model it was converted from",
        ".pt": "a PyTorch model and not a SavedModel: convert it",
        ".pth": "a PyTorch model and not a SavedModel: convert it",
        ".safetensors": "weights without a model: load them into their model and export that",
        ".mlmodel": "a Core ML model and not a SavedModel: export the model it was converted from",
        ".pkl": "a Python pickle and not a SavedModel: export the model from its framework",
        ".joblib": "a Python pickle and not a SavedModel: export the model from its framework",
        ".zip": "an archive, which is not opened: unpack it here",
        ".tar": "an archive, which is not opened: unpack it here",
        ".tar.gz": "an archive, which is not opened: unpack it here",
        ".tgz": "an archive, which is not opened: unpack it here",
        ".tar.bz2": "an archive, which is not opened: unpack it here",
        ".tar.xz": "an archive, which is not opened: unpack it here",
        ".tar.zst": "an archive, which is not opened: unpack it here",
        ".7z": "an archive, which is not opened: unpack it here",
    }
)
"""What a file is, by the end of its name; longer ends are asked first."""

_CHECKPOINT = re.compile(r"(?:.*/)?(?:checkpoint|[^/]+\.ckpt|[^/]+\.meta|[^/]+\.data-\d{5}-of-\d{5})")
_ORBAX = ("_CHECKPOINT_METADATA", "manifest.ocdbt")
_MISNAMED = re.compile(r"saved[_ -]?model.*\.pb(?:txt)?\b.*", re.IGNORECASE)
_WHOLE_NUMBER = re.compile(r"\d+")
_BESIDE_MODEL = ("variables/", "assets/", "assets.extra/")
_OF_SAVED_MODEL = ("fingerprint.pb", "keras_metadata.pb")


def version_hint(paths: Iterable[str]) -> str:
    """Return what a version's folder without `saved_model.pb` holds instead."""
    files = sorted(paths)
    if not files:
        return "holds no files: write the version again"
    return _deeper(files) or _other_kind(files) or _incomplete(files) or _unknown(files)


def base_path_hint(base_path: str, paths: Iterable[str]) -> str:
    """Return why a base path has no versions, by the files that lie outside of version folders."""
    files = sorted(paths)
    if is_version(files):
        return _is_itself(base_path.rstrip("/"))
    found = _saved_models(files)
    if found:
        return _elsewhere(base_path.rstrip("/"), found[0])
    hint = _other_kind(files) or _incomplete(files)
    return f"It {hint}; a version's files belong in {base_path.rstrip('/')}/1" if hint else ""


def is_version(paths: Iterable[str]) -> bool:
    """Whether a base path is itself the folder of a version."""
    return any(one in SAVED_MODEL for one in paths)


def file_hint(path: str) -> str:
    """Return what a base path is that names a file instead of a folder."""
    name = path.rstrip("/").rpartition("/")[2]
    if name in SAVED_MODEL:
        return "It names a file: use the folder above the version's folder as the base path"
    kind = _kind(name)
    return f"It names a file, {kind}" if kind else ""


def _is_itself(base_path: str) -> str:
    parent, _, name = base_path.rpartition("/")
    if _WHOLE_NUMBER.fullmatch(name):
        return f"It is itself a version: use its parent {parent or '/'} as the base path"
    return f"It holds a SavedModel directly: move its files into {base_path}/1"


def _saved_models(files: list[str]) -> list[str]:
    """Return the folders that hold a SavedModel, the nearest first."""
    folders = {one.rpartition("/")[0] for one in files if one.rpartition("/")[2] in SAVED_MODEL}
    return sorted(folders - {""}, key=lambda one: (one.count("/"), one))


def _elsewhere(base_path: str, folder: str) -> str:
    above, _, name = folder.rpartition("/")
    if above and _WHOLE_NUMBER.fullmatch(name):
        return f"Its versions lie deeper: use {base_path}/{above} as the base path"
    return f"It holds a SavedModel in {folder}/: move the files of that folder into {base_path}/1"


def _deeper(files: list[str]) -> str:
    found = _saved_models(files)
    if not found:
        return ""
    what = "is an MLflow model, whose" if "MLmodel" in files else "holds one level too many: the"
    return f"{what} SavedModel lies in {found[0]}/; move the files of that folder up into this one"


def _other_kind(files: list[str]) -> str:
    nearest = sorted(files, key=lambda one: (one.count("/"), one))
    found = next(((one, kind) for one in nearest if (kind := _kind(one))), None)
    if found is not None:
        mlflow = ", as MLflow writes it" if "MLmodel" in files else ""
        return f"holds {found[0]}{mlflow}, {found[1]}"
    if any(one.rpartition("/")[2] in _ORBAX for one in files):
        return "holds an Orbax checkpoint and not a SavedModel: export the model with orbax-export"
    return ""


def _incomplete(files: list[str]) -> str:
    """Return what is known of files that belong to a SavedModel or come from training."""
    misnamed = next((one for one in files if _MISNAMED.fullmatch(one)), None)
    if misnamed is not None:
        return f"holds {misnamed}: finish the copy, or rename the file to {SAVED_MODEL[0]}"
    checkpoint = next((one for one in files if not one.startswith(_BESIDE_MODEL) and _CHECKPOINT.fullmatch(one)), None)
    if checkpoint is not None:
        return (
            f"holds {checkpoint}, a training checkpoint and not a SavedModel: restore it into its model and export that"
        )
    part = next((one for one in files if one.startswith(_BESIDE_MODEL) or one in _OF_SAVED_MODEL), None)
    if part is not None:
        return f"holds {part.partition('/')[0]} without {SAVED_MODEL[0]}: copy the whole SavedModel again"
    graph = next((one for one in files if one.endswith(".pb")), None)
    return f"holds {graph}, which is not named {SAVED_MODEL[0]}: export a SavedModel, not a graph" if graph else ""


def _unknown(files: list[str]) -> str:
    others = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"holds {files[0]}{others}, and no SavedModel"


def _kind(path: str) -> str:
    name = path.lower()
    ends = (end for end in sorted(_KINDS, key=len, reverse=True) if name.endswith(end))
    end = next(ends, "")
    return _KINDS[end] if end else ""
