"""The choice of a version's platform, by what the configuration says and by the files in the version's folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from core.config.extensions import ANY, SAVED_MODEL_FILES, TENSORFLOW, TFLITE, PlatformKind
from core.errors import FailedPrecondition


def chosen_platform(
    declared: PlatformKind, files: Collection[str], kinds: Iterable[PlatformKind], *, prefer_tflite: bool = False
) -> PlatformKind:
    """Return the kind of a version; `files` are the names in its folder.

    A SavedModel or a TensorFlow Lite model is served as TensorFlow Serving does; without either, and with nothing
    declared, the one kind is taken that the files show. A folder that shows none is left to TensorFlow, whose text
    users know. Raises FailedPrecondition for a folder that shows two kinds, or another one than is declared.
    """
    shown = [kind for kind in kinds if kind not in (TENSORFLOW, TFLITE) and _shows(kind, files)]
    if declared.name in (ANY.name, TENSORFLOW.name) and _shows(TENSORFLOW, files):
        return _of_tensorflow(files, prefer_tflite=prefer_tflite)
    if declared.name != ANY.name:
        _expect_declared(declared, files, kinds)
        return declared
    if len(shown) > 1:
        names = " and ".join(f"{kind.name} ({_shown_by(kind, files)})" for kind in shown)
        raise FailedPrecondition(f"The version's folder holds models of several platforms, {names}: set model_platform")
    return shown[0] if shown else TENSORFLOW


def _of_tensorflow(files: Collection[str], *, prefer_tflite: bool) -> PlatformKind:
    has_lite = _shows(TFLITE, files)
    has_saved_model = any(name in files for name in SAVED_MODEL_FILES)
    return TFLITE if has_lite and (prefer_tflite or not has_saved_model) else TENSORFLOW


def _expect_declared(declared: PlatformKind, files: Collection[str], kinds: Iterable[PlatformKind]) -> None:
    if _shows(declared, files):
        return
    others = [f"{_shown_by(kind, files)} (platform {kind.name})" for kind in kinds if _shows(kind, files)]
    holds = f"; it holds {' and '.join(others)}" if others else ""
    text = f"The version's folder lacks {declared.files[0]}, which model_platform {declared.name} needs{holds}"
    raise FailedPrecondition(text)


def _shows(kind: PlatformKind, files: Collection[str]) -> bool:
    return any(name in files for name in kind.files)


def _shown_by(kind: PlatformKind, files: Collection[str]) -> str:
    return next(name for name in kind.files if name in files)
