"""Reads our YAML file: settings of models that models.config and flags cannot express, and, if wanted, all others too.

defaults:            settings of all models
  num_cpus: 1
models:
  half_plus_two:     its own settings; with `base_path`, the model needs no models.config
    num_gpus: 0.5
server:              flags without their dashes; the command line wins
  rest_api_port: 8501
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml

from core.config.extensions import ANY, BUILT_IN, CLOUD_EVENTS, Extensions, PlatformKind, op_library_problem
from core.config.flag import FlagKind, Value
from core.config.flag_table import FLAGS
from core.config.model_config import (
    MOST_REPLICAS_PER_NODE,
    Autoscaling,
    BatchingParameters,
    LoggingConfig,
    ModelResources,
    Placement,
    Rollout,
    TaskSampling,
    collector_problems,
    subpath_problem,
)
from core.config.parameter_files import batching_section
from core.config.version_policy import HIGHEST_INT32, VersionPolicy, version_policy_setting
from core.delivery.plan import NO_DELIVERY, DeliverySettings
from core.delivery.settings_reading import OWN_DELIVERY, SHARED_DELIVERY, delivery_settings
from core.errors import ConfigError, Problem
from core.events.settings_reading import event_settings
from core.formats.yaml_reading import (
    MISTAKE,
    Reader,
    YamlEntry,
    choice,
    compose,
    decimal,
    each,
    flag,
    known_entries,
    mapping,
    named_entries,
    section,
    text,
    whole,
)

NOT_HOSTED = "hosted cannot be combined with {}, which needs a Serve deployment of its own"


def _built(cls: type[Any], readers: Mapping[str, Reader]) -> Reader:
    """Return a reader of a section that becomes a value of the class."""
    read_section = section(readers)
    return lambda entry: cls(**read_section(entry))


def _logging(known: Extensions, entry: YamlEntry) -> Any:
    """Read one request log, or a list of them, as a tuple."""
    if isinstance(entry.node, yaml.SequenceNode):
        return each(partial(_log, known))(entry)
    return (_log(known, entry),)


def _log(known: Extensions, entry: YamlEntry) -> Any:
    given = section(_LOGGING)(entry)
    config = LoggingConfig(**given)
    if "events" in given and config.collector != CLOUD_EVENTS:
        entry.at("events").mistake(f"has an effect with the collector {CLOUD_EVENTS} only")
    logs = any(rate > 0 for rate in (config.sampling_rate, *(task.sampling_rate for task in config.per_task)))
    for name, message in collector_problems(config.collector, config.filename_prefix, logs=logs, known=known):
        entry.at("collector" if name == "type" else name).mistake(message)
    return config


def _platform(known: Extensions, entry: YamlEntry) -> Any:
    """Read the name of a platform as its kind."""
    name = text(entry)
    if name is MISTAKE:
        return MISTAKE
    reason = known.reason("platforms", name) or f"; there are {', '.join((*known.platforms, ANY.name))}"
    return known.platform(name) or entry.mistake(f"is not a platform: {name}{reason}")


def _subpath(entry: YamlEntry) -> Any:
    found = text(entry)
    problem = subpath_problem(found) if isinstance(found, str) else ""
    return entry.mistake(problem) if problem else found


def _hooks(entry: YamlEntry) -> Any:
    """Read the class of hooks, `module:Class`; an empty text takes those in a version's folder."""
    name = text(entry)
    module, _, attribute = name.partition(":") if isinstance(name, str) else ("", "", "")
    if isinstance(name, str) and name and not all(part.isidentifier() for part in (*module.split("."), attribute)):
        entry.mistake(f"must be a class as `module:Class`; was {name!r}")
    return name


_AUTOSCALING: Mapping[str, Reader] = {
    "min_replicas": whole(0),
    "max_replicas": whole(1),
    "initial_replicas": whole(0),
    "target_ongoing_requests": decimal(above=0),
    "upscale_delay_s": decimal(0),
    "downscale_delay_s": decimal(0),
    "downscale_to_zero_delay_s": decimal(0),
    "metrics_interval_s": decimal(above=0),
    "look_back_period_s": decimal(above=0),
}
_RATE = decimal(0, 1)
_TASK = _built(TaskSampling, {"dc": text, "task_index": whole(0), "sampling_rate": _RATE})
_LOGGING: Mapping[str, Reader] = {
    "collector": text,
    "filename_prefix": text,
    "sampling_rate": _RATE,
    "attributes": whole(0, 3),
    "per_task": each(_TASK),
    "events": event_settings,
}
_RESOURCES: Mapping[str, Reader] = {
    "num_replicas": whole(1),
    "max_replicas_per_node": whole(0, MOST_REPLICAS_PER_NODE),
    "num_cpus": decimal(0),
    "num_gpus": decimal(0),
    "memory_bytes": whole(0),
    "accelerator_type": text,
    "resources": mapping(decimal(0)),
    "autoscaling": section(_AUTOSCALING),
    "placement": choice({placement.value: placement for placement in Placement}),
    "rollout": choice({rollout.value: rollout for rollout in Rollout}),
    "drain_timeout_s": decimal(0),
    "marker_file": text,
    "max_ongoing_requests": whole(1),
    "max_queued_requests": whole(-1),
    "max_requests_per_second": decimal(0),
    "max_in_flight": whole(0),
    "env_vars": mapping(text),
}


def _op_library(entry: YamlEntry) -> Any:
    found = text(entry)
    problem = op_library_problem(found) if isinstance(found, str) else None
    return found if problem is None else entry.mistake(problem)


_OWN: Mapping[str, Reader] = {
    "batching": batching_section,
    "op_libraries": each(_op_library),
    "hooks": _hooks,
    **SHARED_DELIVERY,
}
_LISTED: Mapping[str, Reader] = {
    "base_path": text,
    "version_subpath": _subpath,
    "labels": mapping(whole(0)),
    **OWN_DELIVERY,
}
_FLAG_READERS: Mapping[FlagKind, Reader] = {
    FlagKind.BOOL: flag,
    FlagKind.INT32: whole(-HIGHEST_INT32 - 1, HIGHEST_INT32),
    FlagKind.INT64: whole(),
    FlagKind.FLOAT: decimal(),
    FlagKind.STRING: text,
}
_SERVER: Mapping[str, Reader] = {
    name: _FLAG_READERS[one.kind] for name, one in FLAGS.items() if name not in ("version", "model_settings_file")
}


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The settings that the file gives one model; None for those that it does not give.

    `lines` gives the line of every entry.
    """

    resources: ModelResources = field(default_factory=ModelResources)
    batching: BatchingParameters | None = None
    logging: tuple[LoggingConfig, ...] | None = None
    base_path: str | None = None
    policy: VersionPolicy | None = None
    labels: Mapping[str, int] | None = None
    platform: PlatformKind | None = None
    op_libraries: tuple[str, ...] = ()
    hooks: str = ""
    version_subpath: str = ""
    delivery: DeliverySettings = NO_DELIVERY
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class YamlSettings:
    """The whole file: settings by model, those of all other models, and flag values."""

    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    defaults: ModelSettings = field(default_factory=ModelSettings)
    server: Mapping[str, Value] = field(default_factory=dict)
    file: str = ""


def read_yaml_settings(content: str, file: str = "", known: Extensions = BUILT_IN) -> YamlSettings:
    """Read the file; raises ConfigError with every mistake, its line and its field."""
    settings, problems = settings_and_problems(content, file, known)
    if problems:
        raise ConfigError(problems)
    return settings


def settings_and_problems(
    content: str, file: str = "", known: Extensions = BUILT_IN
) -> tuple[YamlSettings, tuple[Problem, ...]]:
    """Return what can be read of the file, and every mistake in it; raises ConfigError for what is not YAML."""
    node = compose(content, file)
    if node is None:
        return YamlSettings(file=file), ()
    problems: list[Problem] = []
    top = known_entries(YamlEntry(node, "", file, problems), {"models": 0, "defaults": 0, "server": 0})
    own: dict[str, Reader] = {**_RESOURCES, **_OWN, "logging": partial(_logging, known)}
    shared = section(own)(top["defaults"]) if "defaults" in top else {}
    defaults = _model({}, shared, top.get("defaults"))
    places = (named_entries(top["models"]) or {}) if "models" in top else {}
    if "" in places:
        places[""].mistake("The model has no name")
    named: dict[str, Reader] = {
        "platform": partial(_platform, known),
        "version_policy": partial(version_policy_setting, known),
    }
    listed = {**own, **_LISTED, **named}
    models = {name: _model(shared, section(listed)(at), at) for name, at in places.items()}
    server = section(_SERVER)(top["server"]) if "server" in top else {}
    in_order = tuple(sorted(problems, key=lambda problem: problem.line or 0))
    return YamlSettings(models, defaults, server, file), in_order


def _model(shared: Mapping[str, Any], given: Mapping[str, Any], entry: YamlEntry | None) -> ModelSettings:
    if given.get("autoscaling") and "num_replicas" in given and entry is not None:
        entry.at("autoscaling").mistake("cannot be combined with num_replicas")
    values = _combined(shared, given)
    if "autoscaling" in values:
        values["autoscaling"] = _autoscaling(values["autoscaling"], entry)
    resources = ModelResources(**{name: values[name] for name in _RESOURCES if name in values})
    if entry is not None:
        _require_hostable(resources, entry)
    return ModelSettings(
        resources,
        values.get("batching"),
        values.get("logging"),
        values.get("base_path"),
        values.get("version_policy"),
        values.get("labels"),
        values.get("platform"),
        values.get("op_libraries", ()),
        values.get("hooks", ""),
        values.get("version_subpath", ""),
        delivery_settings(shared, given, entry),
        _lines(entry),
    )


def _require_hostable(resources: ModelResources, entry: YamlEntry) -> None:
    """Refuse a hosted model with settings of an own deployment; those may be the shared ones, with no line here."""
    if resources.placement is Placement.HOSTED:
        for name in resources.of_an_own_deployment:
            entry.at("placement").mistake(NOT_HOSTED.format(name))


def _combined(shared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's own entries over the shared ones; its own number of replicas replaces shared autoscaling."""
    values = {**shared, **given}
    if "num_replicas" in given and "autoscaling" not in given:
        values.pop("autoscaling", None)
    if "autoscaling" in given:
        values.pop("num_replicas", None)
        values["autoscaling"] = {**shared.get("autoscaling", {}), **given["autoscaling"]}
    return values


def _autoscaling(values: Mapping[str, Any], entry: YamlEntry | None) -> Autoscaling:
    bounds = Autoscaling(**values)
    first = bounds.min_replicas if bounds.initial_replicas is None else bounds.initial_replicas
    if entry is not None and not bounds.min_replicas <= first <= bounds.max_replicas:
        message = "min_replicas, initial_replicas and max_replicas must not decrease in this order"
        entry.at("autoscaling").mistake(message)
    return bounds


def _lines(entry: YamlEntry | None) -> Mapping[str, int]:
    if entry is None:
        return {}
    silent = YamlEntry(entry.node, "", "", [])
    return {"": entry.line} | {name: inner.line for name, inner in (named_entries(silent) or {}).items()}
