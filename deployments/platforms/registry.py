"""The platforms that there are: the built-in ones, and those that installed packages register."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from core.config.extensions import ANY, BUILT_IN_KINDS, ONNX, PYTHON, TENSORFLOW, TFLITE, PlatformKind
from core.errors import FailedPrecondition
from core.platforms.platform import Platform
from core.platforms.platform_choice import chosen_platform
from core.versions.servable_spec import ServableSpec
from deployments.system.entry_points import ExtensionPoint, registered

MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        TENSORFLOW.name: "deployments.platforms.tensorflow:PLATFORM",
        TFLITE.name: "deployments.platforms.tflite:PLATFORM",
        ONNX.name: "deployments.platforms.onnx:PLATFORM",
        PYTHON.name: "deployments.platforms.python:PLATFORM",
    }
)


def platform_of(spec: ServableSpec) -> Platform:
    """Return the platform of a version, whose module only its own process imports.

    Raises FailedPrecondition for a folder that does not fit what is declared.
    """
    return platform_named(_kind(spec).name)


def _kind(spec: ServableSpec) -> PlatformKind:
    try:
        files = os.listdir(spec.path)
    except OSError:
        return TENSORFLOW  # whose text for a folder that is not there users know
    kinds = {kind.name: kind for kind in (*BUILT_IN_KINDS.values(), spec.platform) if kind.name != ANY.name}
    return chosen_platform(spec.platform, files, kinds.values(), prefer_tflite=spec.settings.platforms.prefer_tflite)


def platform_named(name: str) -> Platform:
    """Return a platform; raises FailedPrecondition when it is not installed here."""
    if name in MODULES:
        module, _, attribute = MODULES[name].partition(":")
        built_in: Platform = getattr(importlib.import_module(module), attribute)
        return built_in
    platforms = registered(ExtensionPoint.PLATFORMS)
    found: Platform | None = platforms.get(name)
    if found is None:
        why = platforms.why_not(name)
        raise FailedPrecondition(f"Platform {name} is not installed on this node{why and ': '}{why}")
    return found
