"""The choice of a version's platform, by what the configuration says and by the files in the version's folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from core.config.extensions import ANY, SAVED_MODEL_FILES, TENSORFLOW, TFLITE, PlatformKind
from core.errors import FailedPrecondition


def chosen_platform(
    declared: PlatformKind, files: Collection[str], kinds: Iterable[PlatformKind], *, prefer_tflite: bool = False
) -> PlatformKind:
    """Return the kind of a version; `files` are the names in its folder, `kinds` those that are installed.

    Where `tensorflow` is declared, a SavedModel or a TensorFlow Lite model is served as TensorFlow Serving does. Where
    nothing is declared a SavedModel goes before all else, as it always did; without one, the one kind is taken that the
    files show. A folder that shows none is left to TensorFlow, whose text users know. Raises FailedPrecondition for a
    folder that shows several kinds, or another one than is declared.
    """
    others = [kind for kind in kinds if kind.name != TENSORFLOW.name and _shows(kind, files)]
    if declared.name == TENSORFLOW.name and (_shows(TENSORFLOW, files) or not others):
        return _of_tensorflow(files, prefer_tflite=prefer_tflite)
    if declared.name != ANY.name:
        _expect_declared(declared, files, others)
        return declared
    if not others or _has_saved_model(files):
        return _of_tensorflow(files, prefer_tflite=prefer_tflite)
    if len(others) > 1:
        names = " and ".join(f"{_shown_by(kind, files)} (platform {kind.name})" for kind in others)
        text = f"The version's folder holds models of several platforms: {names}"
        raise FailedPrecondition(f"{text}; set model_platform to one of them, or keep one of the files")
    return others[0]


def _of_tensorflow(files: Collection[str], *, prefer_tflite: bool) -> PlatformKind:
    return TFLITE if _shows(TFLITE, files) and (prefer_tflite or not _has_saved_model(files)) else TENSORFLOW


def _expect_declared(declared: PlatformKind, files: Collection[str], others: Iterable[PlatformKind]) -> None:
    if _shows(declared, files) or not declared.files:
        return
    found = [f"{_shown_by(kind, files)} (platform {kind.name})" for kind in others]
    found += [f"{_saved_model_in(files)} (platform {TENSORFLOW.name})"] if _has_saved_model(files) else []
    holds = f"; it holds {' and '.join(found)}: set model_platform to that, or write the version again" if found else ""
    text = f"The version's folder lacks {declared.files[0]}, which model_platform {declared.name} needs{holds}"
    raise FailedPrecondition(text)


def _has_saved_model(files: Collection[str]) -> bool:
    return any(name in files for name in SAVED_MODEL_FILES)


def _saved_model_in(files: Collection[str]) -> str:
    return next(name for name in SAVED_MODEL_FILES if name in files)


def _shows(kind: PlatformKind, files: Collection[str]) -> bool:
    return any(name in files for name in kind.files)


def _shown_by(kind: PlatformKind, files: Collection[str]) -> str:
    return next(name for name in kind.files if name in files)
