"""Joins the models of models.config with those of our YAML file, and finds where the two contradict each other.

Neither file overrides the other: a setting that they give differently is a mistake, so that none is silently ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from core.config.extensions import ANY
from core.config.model_config import LoggingConfig, ModelConfig, Rollout
from core.config.models_text import absolute_path, relative_path_problem
from core.config.version_policy import Latest, RegisteredPolicy, Specific, Unsaid, VersionPolicy, is_default
from core.config.yaml_settings import ModelSettings, YamlSettings
from core.delivery.settings_reading import problems_beside
from core.errors import ConfigError, Problem
from core.events.settings import DEFAULT_EVENTS

MODELS_CONFIG = "models.config"
ONE_MODEL_FLAGS = "the flags --model_name and --model_base_path"
"""Where a list of models came from, in texts for people."""


def joined(
    listed: Iterable[ModelConfig], own: YamlSettings, *, relative_path_root: str = "", source: str = MODELS_CONFIG
) -> tuple[ModelConfig, ...]:
    """Join the models of models.config, or of flags as `source` tells, with our file, which may add models.

    Raises ConfigError with all conflicts.
    """
    listed = tuple(listed)
    known = {model.name for model in listed}
    added = {name: one for name, one in own.models.items() if name not in known and one.base_path is not None}
    problems = [
        *(problem for model in listed for problem in _conflicts(model, own, source)),
        *(problem for name, one in added.items() for problem in _path_problems(name, one, own, relative_path_root)),
    ]
    all_listed = (_joined(model, own.models.get(model.name, own.defaults)) for model in listed)
    models = (*all_listed, *(_added(name, one, relative_path_root) for name, one in added.items()))
    problems += [problem for model in models for problem in _delivery_problems(model, own)]
    if problems:
        raise ConfigError(tuple(problems))
    return models


def _delivery_problems(model: ModelConfig, own: YamlSettings) -> Iterator[Problem]:
    """Yield what contradicts the rest of a model in how its traffic is divided, which either file may have said."""
    served = model.policy.versions if isinstance(model.policy, Specific) else None
    unloads_first = model.resources.rollout is Rollout.RESOURCE_PRESERVING
    found = problems_beside(model.delivery, served=served, labels=model.labels, unloads_first=unloads_first)
    lines = own.models.get(model.name, own.defaults).lines
    for name, message in found:
        place = f"models.{model.name}.{name}" if model.name in own.models else f"defaults.{name}"
        yield Problem(message, own.file, lines.get(name, own.defaults.lines.get(name)), place)


def placed(listed: Iterable[ModelConfig], own: YamlSettings) -> tuple[ModelConfig, ...]:
    """Return models as they are listed, with the settings that only our file can express.

    These are placement, batching, operation libraries, hooks, folders in versions, registered version policies, how
    traffic is divided, and several request logs of one model: a list in models.config's format holds one.
    Settings that both formats know are taken from the list.
    """
    pairs = ((model, own.models.get(model.name, own.defaults)) for model in listed)
    return tuple(
        replace(
            model,
            **_only_ours(one),
            logging=_logging(model.logging, one.logging) or _several(one.logging),
            policy=_placed_policy(model.policy, one.policy),
        )
        for model, one in pairs
    )


def _placed_policy(listed: VersionPolicy, ours: VersionPolicy | None) -> VersionPolicy:
    """Return the policy of a list, or the registered one of our file that the list could not express."""
    if not isinstance(listed, Unsaid):
        return listed
    return ours if isinstance(ours, RegisteredPolicy) else Latest()


def _joined_policy(listed: VersionPolicy, ours: VersionPolicy | None) -> VersionPolicy:
    """Return the policy of a list, or ours where the list says nothing."""
    return ours or Latest() if is_default(listed) else listed


def _only_ours(one: ModelSettings) -> dict[str, Any]:
    """Return the settings that no list in models.config's format has."""
    return {
        "resources": one.resources,
        "batching": one.batching,
        "op_libraries": one.op_libraries,
        "hooks": one.hooks,
        "version_subpath": one.version_subpath,
        "delivery": one.delivery,
    }


def _logging(listed: tuple[LoggingConfig, ...], ours: tuple[LoggingConfig, ...] | None) -> tuple[LoggingConfig, ...]:
    """Return the logs of a list; one that our file has as well sends its events as our file says."""
    known = {replace(one, events=DEFAULT_EVENTS): one for one in ours or ()}
    return tuple(known.get(one, one) for one in listed)


def _several(logging: tuple[LoggingConfig, ...] | None) -> tuple[LoggingConfig, ...]:
    return logging if logging is not None and len(logging) > 1 else ()


def unused_models(listed: Iterable[ModelConfig], own: YamlSettings, source: str = MODELS_CONFIG) -> tuple[Problem, ...]:
    """Return a warning for each model of our file that is listed nowhere and has no base path."""
    known = {model.name for model in listed}
    return tuple(
        Problem(f"has no base_path and is not in {source}", own.file, one.lines.get(""), f"models.{name}")
        for name, one in own.models.items()
        if name not in known and one.base_path is None
    )


def _conflicts(model: ModelConfig, own: YamlSettings, source: str) -> Iterator[Problem]:
    """Yield each setting that the two files give differently; the default policy and no labels count as not given."""
    one = own.models.get(model.name)
    if one is None:
        return
    pairs = (
        ("base_path", one.base_path, model.base_path),
        ("version_policy", one.policy, None if is_default(model.policy) else model.policy),
        ("labels", one.labels, model.labels or None),
        ("logging", one.logging, _logging(model.logging, one.logging) or None),
        ("platform", one.platform, model.platform if model.platform.name != ANY.name else None),
    )
    for name, ours, theirs in pairs:
        if name in one.lines and theirs is not None and ours != theirs:
            message = f"differs from {source}; set it in only one of the two"
            yield Problem(message, own.file, one.lines[name], f"models.{model.name}.{name}")


def _path_problems(name: str, one: ModelSettings, own: YamlSettings, root: str) -> Iterator[Problem]:
    path = one.base_path or ""
    if absolute_path(path, root) is None:
        yield Problem(relative_path_problem(name, path), own.file, one.lines["base_path"], f"models.{name}.base_path")


def _joined(model: ModelConfig, one: ModelSettings) -> ModelConfig:
    return ModelConfig(
        name=model.name,
        base_path=model.base_path,
        policy=_joined_policy(model.policy, one.policy),
        labels=model.labels or one.labels or {},
        logging=_logging(model.logging, one.logging) or one.logging or (),
        platform=one.platform or model.platform,
        **_only_ours(one),
    )


def _added(name: str, one: ModelSettings, root: str) -> ModelConfig:
    return ModelConfig(
        name=name,
        base_path=absolute_path(one.base_path or "", root) or "",
        policy=one.policy or Latest(),
        labels=one.labels or {},
        logging=one.logging or (),
        platform=one.platform or ANY,
        **_only_ours(one),
    )
