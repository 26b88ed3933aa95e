"""Changes of a list of models by `label`, `load` and `unload`; each returns the new list, with one model changed."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace

from core.config.extensions import ANY, PlatformKind
from core.config.model_config import ModelConfig
from core.config.version_policy import All, Latest, RegisteredPolicy, Specific, Unsaid, VersionPolicy
from core.delivery.rollout_record import NO_RECORD, RolloutRecord
from core.errors import FailedPrecondition, InvalidArgument, NotFound
from core.rollouts.orders import change_problem

Models = tuple[ModelConfig, ...]

_NAMED = frozenset({"name", "base_path", "policy", "labels"})
"""What has a line of its own in the differences of two lists."""


@dataclass(frozen=True, slots=True)
class KnownModels:
    """The list of models in force, the one of the configuration files, and the aspired versions by model."""

    models: Models
    files: Models = ()
    wanted: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def find(self, name: str) -> ModelConfig | None:
        """Return a model in force; None when there is none of that name."""
        return next((one for one in self.models if one.name == name), None)

    def get(self, name: str) -> ModelConfig:
        """Return a model in force; raises NotFound."""
        found = self.find(name)
        if found is None:
            raise NotFound(f"There is no model {name}. Models: {', '.join(one.name for one in self.models) or 'none'}.")
        return found

    def wanted_of(self, name: str) -> frozenset[int]:
        """Return the aspired versions of a model."""
        return self.wanted.get(name, frozenset())


Change = Callable[[KnownModels], Models]
"""Returns the new list; the same one when there is nothing to do. Raises ServingError when it is not possible."""


def label(name: str, text: str, version: int) -> Change:
    """Return a change that lets a label name a version, whichever it named before."""

    def change(known: KnownModels) -> Models:
        model = known.get(name)
        return _with(known, replace(model, labels={**model.labels, text: version}))

    return change


def remove_label(name: str, text: str) -> Change:
    """Return a change that removes a label; it raises NotFound when the model does not have it."""

    def change(known: KnownModels) -> Models:
        model = known.get(name)
        if text not in model.labels:
            declared = ", ".join(sorted(model.labels)) or "none"
            raise NotFound(f"Model {name} has no label {text}. Labels: {declared}.")
        return _with(known, replace(model, labels={key: to for key, to in model.labels.items() if key != text}))

    return change


def load_version(name: str, version: int, base_path: str = "") -> Change:
    """Return a change that adds a version to the aspired ones; with a base path, also of a new model."""

    def change(known: KnownModels) -> Models:
        model = known.find(name)
        if model is None:
            added = _new(known, name, base_path)
            return (*known.models, replace(added, policy=Specific(frozenset({version}))))
        policy = _wanting(model.policy, known.wanted_of(name), version)
        return _with(known, replace(model, base_path=base_path or model.base_path, policy=policy))

    return change


def load_model(name: str, base_path: str = "", policy: VersionPolicy | None = None) -> Change:
    """Return a change that adds a model, or gives a known one another base path or policy."""

    def change(known: KnownModels) -> Models:
        model = known.find(name)
        chosen = model or _new(known, name, base_path)
        chosen = replace(chosen, base_path=base_path or chosen.base_path, policy=policy or chosen.policy)
        return _with(known, chosen) if model is not None else (*known.models, chosen)

    return change


def unload_version(name: str, version: int, *, force: bool = False) -> Change:
    """Return a change that removes a version from the aspired ones; it raises FailedPrecondition for the last one."""

    def change(known: KnownModels) -> Models:
        model = known.get(name)
        wanted = known.wanted_of(name)
        listed = model.policy.versions if isinstance(model.policy, Specific) else wanted
        if version not in listed | wanted:
            shown = ", ".join(map(str, sorted(listed))) or "none"
            raise NotFound(f"Model {name} does not serve version {version}. Versions: {shown}.")
        if not force and wanted == {version}:
            raise FailedPrecondition(
                f"Version {version} is the only one that model {name} serves. Load another one first, remove the whole "
                "model by naming no version, or insist with --force."
            )
        return _with(known, replace(model, policy=Specific(listed - {version})))

    return change


def unload_model(name: str) -> Change:
    """Return a change that removes a model with all versions and labels; it raises NotFound."""

    def change(known: KnownModels) -> Models:
        gone = known.get(name)
        return tuple(one for one in known.models if one is not gone)

    return change


def restored(before: ModelConfig | None, written: ModelConfig) -> Change:
    """Return a change that gives a model its earlier entry back; None: it had none, and goes.

    A model whose entry is not the written one any more is left alone: somebody else has changed it meanwhile.
    """

    def change(known: KnownModels) -> Models:
        present = known.find(written.name)
        if present is None or not _is_as_written(present, written):
            return known.models
        if before is None:
            return tuple(one for one in known.models if one is not present)
        return _with(known, before)

    return change


def _is_as_written(present: ModelConfig, written: ModelConfig) -> bool:
    """Whether an entry is the one that was sent; where that said nothing, the settings file may have said something."""
    return (
        (present.base_path, present.labels) == (written.base_path, written.labels)
        and (isinstance(written.policy, Unsaid) or present.policy == written.policy)
        and (not written.logging or present.logging == written.logging)
        and written.platform in {ANY, present.platform}
    )


def expect_same_platforms(before: Models, after: Models) -> None:
    """Refuse to change the declared platform of a model that stays (TensorFlow Serving, config reload).

    A model of which none was declared may declare one. Raises FailedPrecondition.
    """
    old = {model.name: model.platform.name for model in before}
    for model in after:
        was, becomes = old.get(model.name, ANY.name), model.platform.name
        if was != becomes and ANY.name not in (was, becomes):
            raise FailedPrecondition(
                f"Illegal to change a model's platform. For model {model.name} platform was {was} and new platform "
                f"requested is {becomes}"
            )


def rollout_conflicts(before: Models, after: Models, records: Mapping[str, RolloutRecord]) -> Mapping[str, str]:
    """Return the models of which a new list changes a version that a rollout uses, each with the reason against it.

    A label that comes, moves or goes touches the versions that it names; a policy that lists versions, those which it
    lists no more. A model that is no longer listed ends its rollout, and is none of these.
    """
    old = {model.name: model for model in before}
    found: dict[str, str] = {}
    for model in after:
        record, was = records.get(model.name, NO_RECORD), old.get(model.name)
        if was is None or record == NO_RECORD:
            continue
        problem = change_problem(record, _touched(was, model, frozenset((record.stable, record.canary))))
        if problem:
            found[model.name] = problem
    return found


def _touched(was: ModelConfig, becomes: ModelConfig, used: frozenset[int]) -> frozenset[int]:
    labels = was.labels.keys() | becomes.labels.keys()
    moved = (label for label in labels if was.labels.get(label) != becomes.labels.get(label))
    named = {one.labels.get(label, 0) for label in moved for one in (was, becomes)}
    is_listed = isinstance(becomes.policy, Specific) and becomes.policy != was.policy
    dropped = used - becomes.policy.versions if is_listed and isinstance(becomes.policy, Specific) else frozenset()
    return (dropped | named) - {0}


def _with(known: KnownModels, model: ModelConfig) -> Models:
    return tuple(model if one.name == model.name else one for one in known.models)


def _new(known: KnownModels, name: str, base_path: str) -> ModelConfig:
    if base_path:
        return ModelConfig(name, base_path)
    listed = next((one for one in known.files if one.name == name), None)
    if listed is None:
        raise InvalidArgument(f"Model {name} is not in any configuration file; give its base path with --base-path.")
    return listed


def _wanting(policy: VersionPolicy, wanted: frozenset[int], version: int) -> VersionPolicy:
    """Return a policy that also selects a version; the same one if it does already."""
    if isinstance(policy, Specific):
        return Specific(policy.versions | {version})
    if isinstance(policy, All) or version in wanted:
        return policy
    return Specific(wanted | {version})


def policy_text(policy: VersionPolicy | None) -> str:
    """Return a policy in words."""
    if isinstance(policy, Unsaid):
        return "as the settings file says, or latest 1"
    if isinstance(policy, Latest):
        return f"latest {policy.count}"
    if isinstance(policy, Specific):
        return f"specific {', '.join(map(str, sorted(policy.versions))) or 'none'}"
    if isinstance(policy, RegisteredPolicy):
        return f"{policy.name} {policy.arguments}"
    return "all" if policy is not None else ""


def differences(before: Models, after: Models) -> Iterator[str]:
    """Yield a line for each difference between two lists."""
    old, new = ({one.name: one for one in models} for models in (before, after))
    for name in new.keys() - old.keys():
        yield f"{name}: added, base path {new[name].base_path}, policy {policy_text(new[name].policy)}"
    for name in old.keys() - new.keys():
        yield f"{name}: removed"
    for name in sorted(old.keys() & new.keys()):
        yield from (f"{name}: {line}" for line in _changes(old[name], new[name]))


def _changes(old: ModelConfig, new: ModelConfig) -> Iterator[str]:
    yield from _named_changes(old, new)
    for one in fields(ModelConfig):
        if one.name not in _NAMED:
            yield from _setting_changes(one.name, getattr(old, one.name), getattr(new, one.name))


def _setting_changes(name: str, old: object, new: object) -> Iterator[str]:
    """Yield a line for each setting that differs; of mappings only the names, because values may be secrets."""
    if old == new:
        return
    if is_dataclass(old) and type(old) is type(new) and not isinstance(old, PlatformKind):
        for one in fields(old):
            yield from _setting_changes(f"{name}.{one.name}", getattr(old, one.name), getattr(new, one.name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        yield f"{name}: {', '.join(map(str, changed))} changed"
    else:
        yield f"{name} {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, PlatformKind):
        return value.name
    if is_dataclass(value):
        return "set"
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
    return "none" if value is None or value == "" else str(value)


def _named_changes(old: ModelConfig, new: ModelConfig) -> Iterator[str]:
    if old.base_path != new.base_path:
        yield f"base path {old.base_path} -> {new.base_path}"
    if old.policy != new.policy:
        yield f"policy {policy_text(old.policy)} -> {policy_text(new.policy)}"
    for text in sorted(old.labels.keys() | new.labels.keys()):
        was, becomes = old.labels.get(text), new.labels.get(text)
        if was != becomes:
            yield f"label {text} {'none' if was is None else was} -> {'none' if becomes is None else becomes}"
