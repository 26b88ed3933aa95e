"""Hints at what lies where a model is expected: other formats, a level too many or too few, incomplete copies.

All functions take paths of files relative to the folder in question, and the platform whose files are expected there. A
hint begins with a verb ("holds ...") and ends with what to do next; it is empty where nothing is known.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from core.config.extensions import ANY, BUILT_IN_KINDS, ONNX, PYTHON, SAVED_MODEL_FILES, TFLITE, PlatformKind

MOST_OUTSIDE = 500
"""Files outside of versions that a listing keeps, and how many folders deep."""

DEEPEST_OUTSIDE = 4
SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
EXPORT = "write a SavedModel with model.export(folder)"
IN_PYTHON = f"load it in a {PYTHON.files[0]}, and serve that with platform {PYTHON.name}"

_KINDS: Mapping[str, str] = MappingProxyType(
    {
        ".keras": f"a Keras archive and not a SavedModel: load it with Keras and {EXPORT}",
        ".weights.h5": f"weights without a model: load them into their Keras model and {EXPORT}",
        ".h5": f"a Keras file and not a SavedModel: load it with Keras and {EXPORT}",
        ".hdf5": f"a Keras file and not a SavedModel: load it with Keras and {EXPORT}",
        ".pt": "a PyTorch model, which no platform serves: export it with torch.onnx.export",
        ".pth": "a PyTorch model, which no platform serves: export it with torch.onnx.export",
        ".safetensors": "weights without a model: load them into their model and export that",
        ".mlmodel": "a Core ML model and not a SavedModel: export the model it was converted from",
        ".pkl": f"a Python pickle and not a model that can be served: convert it to ONNX, or {IN_PYTHON}",
        ".joblib": f"a Python pickle and not a model that can be served: convert it to ONNX, or {IN_PYTHON}",
        ".ubj": f"an XGBoost model, which no platform serves: convert it to ONNX, or {IN_PYTHON}",
        ".bst": f"an XGBoost model, which no platform serves: convert it to ONNX, or {IN_PYTHON}",
        ".cbm": f"a CatBoost model, which no platform serves: save it as ONNX, or {IN_PYTHON}",
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

_SERVED: Mapping[str, tuple[str, PlatformKind]] = MappingProxyType(
    {".onnx": ("an ONNX model", ONNX), ".tflite": ("a TensorFlow Lite model", TFLITE)}
)
"""What a file is that a platform serves under another name."""

_BOOSTER = re.compile(r"(?:model|booster|xgb[^/]*)\.json", re.IGNORECASE)
_CHECKPOINT = re.compile(r"(?:.*/)?(?:checkpoint|[^/]+\.ckpt|[^/]+\.meta|[^/]+\.data-\d{5}-of-\d{5})")
_ORBAX = ("_CHECKPOINT_METADATA", "manifest.ocdbt")
_MISNAMED = re.compile(r"saved[_ -]?model.*\.pb(?:txt)?\b.*", re.IGNORECASE)
_EXTERNAL_DATA = re.compile(r"[^/]+\.onnx[._]data")
_UNFINISHED = re.compile(r"\.(?:part|partial|tmp|crdownload|download)$")
_WHOLE_NUMBER = re.compile(r"\d+")
_BESIDE_MODEL = ("variables/", "assets/", "assets.extra/")
_OF_SAVED_MODEL = ("fingerprint.pb", "keras_metadata.pb")


def shown_outside(paths: Iterable[str]) -> frozenset[str]:
    """Return the files that a listing keeps of those outside of models: the first ones, not too deep."""
    near = (path for path in paths if path.count("/") <= DEEPEST_OUTSIDE)
    return frozenset(itertools.islice(near, MOST_OUTSIDE))


def version_hint(paths: Iterable[str], platform: PlatformKind = ANY) -> str:
    """Return what a version's folder without a file of its platform holds instead."""
    files = sorted(paths)
    if not files:
        return "holds no files: write the version again"
    return (
        _of_another_platform(files, platform)
        or _deeper(files, platform)
        or _misnamed(files, platform)
        or _other_kind(files)
        or _incomplete(files, platform)
        or _unknown(files, platform)
    )


def subpath_hint(subpath: str, beside: Iterable[str], platform: PlatformKind = ANY) -> str:
    """Return why a version has no files where `version_subpath` leads, by the other files of its folder."""
    files = sorted(beside)
    nothing = f"version_subpath {subpath} leads to no files"
    itself = _itself(files, platform)
    if itself:
        return (
            f"{nothing}; {_named(itself, 'the SavedModel')} lies in the version's own folder: leave version_subpath out"
        )
    found = _models(files, platform)
    if found:
        folder = found[0].rpartition("/")[0]
        return f"{nothing}; {_named(found[0], 'a SavedModel')} lies in {folder}/: set version_subpath to {folder}"
    return f"{nothing}; the version's folder {version_hint(files, platform)}"


def inner_folder(paths: Iterable[str], platform: PlatformKind = ANY) -> str:
    """Return in which folder below a version's its model lies, a right `version_subpath`; empty where none does.

    A folder whose name is a number is a version of another model.
    """
    files = sorted(paths)
    found = [] if _itself(files, platform) else _models(files, platform)
    folders = (one.rpartition("/")[0] for one in found)
    return next((one for one in folders if not _WHOLE_NUMBER.fullmatch(one.rpartition("/")[2])), "")


def base_path_hint(base_path: str, paths: Iterable[str], platform: PlatformKind = ANY) -> str:
    """Return why a base path has no versions, by the files that lie outside of version folders."""
    files = sorted(paths)
    itself = _itself(files, platform)
    if itself:
        return _is_itself(base_path.rstrip("/"), itself)
    found = _models(files, platform)
    if found:
        return _elsewhere(base_path.rstrip("/"), found[0])
    hint = _misnamed(files, platform) or _other_kind(files) or _incomplete(files, platform)
    return f"It {hint}; a version's files belong in {base_path.rstrip('/')}/1" if hint else ""


def is_version(paths: Iterable[str], platform: PlatformKind = ANY) -> bool:
    """Whether a base path is itself the folder of a version."""
    return bool(_itself(paths, platform))


def _itself(files: Iterable[str], platform: PlatformKind) -> str:
    return next((one for one in files if one in platform.files), "")


def file_hint(path: str, platform: PlatformKind = ANY) -> str:
    """Return what a base path is that names a file instead of a folder."""
    name = path.rstrip("/").rpartition("/")[2]
    if name in platform.files:
        return "It names a file: use the folder above the version's folder as the base path"
    kind = _served_kind(name, platform) or _kind(name)
    return f"It names a file, {kind}" if kind else ""


def _is_itself(base_path: str, file: str) -> str:
    parent, _, name = base_path.rpartition("/")
    if _WHOLE_NUMBER.fullmatch(name):
        return f"It is itself a version: use its parent {parent or '/'} as the base path"
    return f"It holds {_named(file, 'a SavedModel')} directly: move its files into {base_path}/1"


def _named(file: str, saved_model: str) -> str:
    """Return a model file in words: SavedModels are known by that name."""
    name = file.rpartition("/")[2]
    return saved_model if name in SAVED_MODEL_FILES else name


def _models(files: Collection[str], platform: PlatformKind) -> list[str]:
    """Return the model files that lie in folders, SavedModels first, then the nearest."""
    found = (one for one in files if "/" in one and one.rpartition("/")[2] in platform.files)
    return sorted(found, key=lambda one: (one.rpartition("/")[2] not in SAVED_MODEL_FILES, one.count("/"), one))


def _elsewhere(base_path: str, file: str) -> str:
    folder = file.rpartition("/")[0]
    above, _, name = folder.rpartition("/")
    if above and _WHOLE_NUMBER.fullmatch(name):
        return f"Its versions lie deeper: use {base_path}/{above} as the base path"
    what = _named(file, "a SavedModel")
    return f"It holds {what} in {folder}/: move the files of that folder into {base_path}/1"


def _of_another_platform(files: Collection[str], platform: PlatformKind) -> str:
    """Return which platform serves the files of a version for which another one is declared."""
    kinds = sorted(BUILT_IN_KINDS.values(), key=lambda kind: len(kind.files))
    theirs = ((file, kind) for kind in kinds for file in kind.files if file not in platform.files)
    found = next(((file, kind) for file, kind in theirs if file in files), None)
    if found is None:
        return ""
    file, kind = found
    return (
        f'holds {file}, which is for platform {kind.name} and not {platform.name}: set model_platform to "{kind.name}"'
    )


def _deeper(files: Collection[str], platform: PlatformKind) -> str:
    found = _models(files, platform)
    if not found:
        return ""
    what = "is an MLflow model, whose" if "MLmodel" in files else "holds one level too many: the"
    folder, model = found[0].rpartition("/")[0], _named(found[0], "SavedModel")
    setting = f"set version_subpath to {folder}, or " if "MLmodel" in files else ""
    return f"{what} {model} lies in {folder}/; {setting}move the files of that folder up into this one"


def _misnamed(files: Collection[str], platform: PlatformKind) -> str:
    """Return what to call a file that is right but for its name, or that another platform serves."""
    nearest = sorted(files, key=lambda one: (one.count("/"), one))
    found = next(((one, kind) for one in nearest if (kind := _served_kind(one, platform))), None)
    return f"holds {found[0]}, {found[1]}" if found is not None else _unfinished(nearest, platform)


def _served_kind(path: str, platform: PlatformKind) -> str:
    folder, _, name = path.rpartition("/")
    what, kind = next((one for end, one in _SERVED.items() if name.lower().endswith(end)), ("", ANY))
    if not what:
        return ""
    file = kind.files[0]
    if file in platform.files:
        return f"{what}: {'move it into this folder as' if folder else 'rename it to'} {file}"
    renamed = "" if path == file else f" and name it {file}"
    return f'{what}, which platform {platform.name} does not serve: set model_platform to "{kind.name}"{renamed}'


def _unfinished(files: Collection[str], platform: PlatformKind) -> str:
    wanted = {one.lower(): one for one in platform.files}
    for one in files:
        file = wanted.get(_UNFINISHED.sub("", one.lower()))
        if file is not None:
            return f"holds {one}: finish the copy, or rename the file to {file}"
    return ""


def _other_kind(files: Collection[str]) -> str:
    nearest = sorted(files, key=lambda one: (one.count("/"), one))
    found = next(((one, kind) for one in nearest if (kind := _kind(one))), None)
    if found is not None:
        mlflow = ", as MLflow writes it" if "MLmodel" in files else ""
        return f"holds {found[0]}{mlflow}, {found[1]}"
    if any(one.rpartition("/")[2] in _ORBAX for one in files):
        return "holds an Orbax checkpoint and not a SavedModel: export the model with orbax-export"
    return ""


def _incomplete(files: Collection[str], platform: PlatformKind) -> str:
    """Return what is known of files that belong to a model or come from training."""
    if ONNX.files[0] in platform.files:
        data = next((one for one in files if _EXTERNAL_DATA.fullmatch(one)), None)
        if data is not None:
            return f"holds {data} without {ONNX.files[0]}: copy the whole model again"
    return _incomplete_saved_model(files) if SAVED_MODEL[0] in platform.files else ""


def _incomplete_saved_model(files: Collection[str]) -> str:
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


def _unknown(files: list[str], platform: PlatformKind) -> str:
    others = f" and {len(files) - 1} more" if len(files) > 1 else ""
    *wanted, last = dict.fromkeys(_named(one, "SavedModel") for one in platform.files)
    return f"holds {files[0]}{others}, and no {_listed(wanted)}{last}"


def _listed(files: list[str]) -> str:
    return f"{', '.join(files)} or " if files else ""


def _kind(path: str) -> str:
    name = path.lower()
    ends = (end for end in sorted(_KINDS, key=len, reverse=True) if name.endswith(end))
    end = ".ubj" if _BOOSTER.fullmatch(name.rpartition("/")[2]) else next(ends, "")
    return _KINDS[end] if end else ""
