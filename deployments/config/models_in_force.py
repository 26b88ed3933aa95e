"""Holds the list of models in force, which is read from files and replaced by requests.

The thread of the ticks polls the files and uses the list; another thread applies requests. The list of a request stays
in force until the content of the files changes.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from core.admin.messages import ConfigChange
from core.admin.model_changes import differences, expect_same_platforms, rollout_conflicts
from core.config.model_config import BatchingParameters, ModelConfig
from core.config.models_text import model_configs, models_from_message, to_text
from core.config.server_settings import ModelSourceSettings
from core.config.version_policy import RegisteredPolicy
from core.delivery.rollout_record import RolloutRecord
from core.errors import Aborted, ConfigError, FailedPrecondition, Problem
from core.protos import model_config_pb2
from core.routing.label_rule import LabelRule
from core.routing.table import NOTHING_IN_FORCE, ListInForce, RoutingTable
from core.telemetry.log_lines import audited
from deployments.config.extension_points import extensions

log = logging.getLogger(__name__)

NEVER = float("inf")
A_REQUEST = "a request"
CHANGED_MEANWHILE = "The list of models was changed meanwhile; read it again and repeat the change."


class ModelList(Protocol):
    """The source of the configured models."""

    def models(self) -> tuple[ModelConfig, ...]:
        """Read the configuration; raises ConfigError with all mistakes."""

    @property
    def spoken(self) -> frozenset[str]:
        """The files that have said something; one that becomes blank is refused."""

    def recall(self, spoken: frozenset[str]) -> None:
        """Continue with the files that a predecessor knew."""

    def joined(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Join the models of a reload request with the YAML file."""

    def placed(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Return models as listed, with the settings that only the YAML file can express."""

    def batching(self) -> BatchingParameters | None:
        """Read the parameters for all models; None without batching, or with parameters beside each version."""

    def session_config(self) -> bytes:
        """Return the serialized session options of every model server."""

    def unread(self) -> tuple[Problem, ...]:
        """Return the problems of files whose newest content could not be read, so that an earlier one counts."""

    def changes(self) -> int:
        """Return a number that grows when files are to be read again before the next poll is due."""


@dataclass(frozen=True, slots=True)
class InForce:
    """One list of models, whether it is from a request, and the number of requests accepted so far.

    `text` is the list as the routing table contains it; every tick needs it.
    """

    models: tuple[ModelConfig, ...]
    is_requested: bool = False
    number: int = 0
    text: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", to_text(self.models))

    @property
    def fingerprint(self) -> str:
        """A short text that changes when the list does."""
        return _short_hash(self.text)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A list that a reload request put in force: its number, and the names that the list before it did not have."""

    number: int
    added: frozenset[str]


class Configuration:
    """Holds the list of models; safe for two threads."""

    def __init__(self, settings: ModelSourceSettings, model_list: ModelList) -> None:
        self._settings = settings
        self._model_list = model_list
        self._rule = LabelRule(settings.strict_version_labels, settings.allow_labels_for_unavailable)
        self._lock = threading.Lock()
        self._adopted = NOTHING_IN_FORCE
        self._in_force: InForce | None = None
        self._files: tuple[ModelConfig, ...] = ()
        self.files_fingerprint = ""
        self.due_s = 0.0
        self._changes = 0
        self.problems: tuple[Problem, ...] = ()
        self._unread: tuple[Problem, ...] = ()

    def adopt(self, published: ListInForce) -> None:
        """Continue with the list that a previous watcher published."""
        self._adopted = published
        self.files_fingerprint = published.files_fingerprint
        self._model_list.recall(published.spoken)

    def poll(self, now_s: float, table: RoutingTable) -> None:
        """Read the files when due; invalid and unchanged files change nothing."""
        poll_s = self._settings.model_config_file_poll_wait_s
        changes = self._model_list.changes() if poll_s > 0 else 0
        if self._in_force is not None and now_s < self.due_s and changes == self._changes:
            return
        self._changes = changes
        self.due_s = now_s + poll_s if poll_s > 0 else NEVER
        try:
            self._recall()
            self._take_files(self._model_list.models(), table)
        except (ConfigError, FailedPrecondition) as error:
            self._note(error.problems if isinstance(error, ConfigError) else (Problem(str(error)),))
        else:
            self._note_accepted()
            self.problems = self._model_list.unread()

    def _note_accepted(self) -> None:
        """Say that files which had mistakes have none any more, also where nothing else has changed."""
        if any(one not in self._unread for one in self.problems):
            log.info("config_accepted files=%s", self._file_names, extra=audited())
        self._unread = self._model_list.unread()

    @property
    def _file_names(self) -> str:
        source = self._settings
        return ", ".join(file for file in (source.model_config_file, source.model_settings_file) if file)

    def _recall(self) -> None:
        """Adopt the list of a previous watcher, unless a request came first."""
        if self._in_force is not None or not self._adopted.text:
            return
        models = self._model_list.placed(model_configs(self._adopted.text, known=extensions()))
        with self._lock:
            if self._in_force is None:
                self._in_force = InForce(models, is_requested=self._adopted.is_requested)

    def _take_files(self, files: tuple[ModelConfig, ...], table: RoutingTable) -> None:
        """Put the list of the files in force if it has changed; labels are checked for all but the first list.

        Files that are not polled are used once in the life of the server, however often the watcher starts.
        """
        fingerprint = _content(files)
        is_polled = self._settings.model_config_file_poll_wait_s > 0
        has_changed = is_polled and self.files_fingerprint not in ("", fingerprint)
        if has_changed and self._in_force is not None:
            self._check(files, table)
        with self._lock:
            self._files = files
            before, is_first = self._in_force, self._in_force is None
            if is_first or has_changed:
                self._in_force = InForce(files, number=self._in_force.number if self._in_force is not None else 0)
            if is_first or has_changed or not self.files_fingerprint:
                self.files_fingerprint = fingerprint
        if before is not None and has_changed:
            _note_changes(before.models, files, self._file_names)
        file = self._settings.model_config_file
        if is_first and file and file not in self._model_list.spoken:
            log.info("config_empty file=%s Taking no action for empty config", file)

    def _note(self, problems: tuple[Problem, ...]) -> None:
        if problems != self.problems:
            log.warning("config_refused problems=%s", "\n".join(map(str, problems)), extra=audited())
        self.problems = problems

    def in_force(self) -> InForce | None:
        """Return the list in force; None before any was read."""
        with self._lock:
            return self._in_force

    def published(self, in_force: InForce) -> ListInForce:
        """Return a list in the form in which a later watcher adopts it."""
        return ListInForce(
            in_force.text, in_force.is_requested, self.files_fingerprint, self.problems, self._model_list.spoken
        )

    def files(self) -> tuple[ModelConfig, ...]:
        """Return the list that the files hold."""
        with self._lock:
            return self._files

    def reload(self, config: model_config_pb2.ModelServerConfig, table: RoutingTable, by: str = A_REQUEST) -> Reloaded:
        """Put the list of a reload request in force; returns its number and the names that it adds.

        Raises ConfigError with all mistakes and FailedPrecondition for labels; then nothing changes.
        """
        models = self._model_list.joined(self._read(config))
        self._check(models, table)
        with self._lock:
            before = self._in_force.models if self._in_force is not None else ()
            number = self._replace(models).number
        _note_changes(before, models, by)
        return Reloaded(number, frozenset(one.name for one in models) - {one.name for one in before})

    def change(
        self,
        config: model_config_pb2.ModelServerConfig,
        expected: str,
        table: RoutingTable,
        by: str = A_REQUEST,
        *,
        is_forced: bool = False,
    ) -> InForce:
        """Put another list in force if the present one has the expected fingerprint; returns the new one.

        Raises Aborted when it has another one, otherwise as `reload`.
        """
        models = self._model_list.placed(self._read(config))
        self._check(models, table, is_forced=is_forced)
        with self._lock:
            if self._in_force is None or self._in_force.fingerprint != expected:
                raise Aborted(CHANGED_MEANWHILE)
            before = self._in_force.models
            changed = self._replace(models)
        _note_changes(before, models, by)
        return changed

    def conflicts(self, change: ConfigChange, table: RoutingTable) -> Mapping[str, str]:
        """Return the models whose rollouts a change touches, each with the reason against it; raises as `change`."""
        in_force = self.in_force()
        if in_force is None or in_force.fingerprint != change.expected_fingerprint:
            raise Aborted(CHANGED_MEANWHILE)
        models = self._model_list.placed(self._read(change.config))
        return rollout_conflicts(in_force.models, models, _records(table))

    def _check(self, models: tuple[ModelConfig, ...], table: RoutingTable, *, is_forced: bool = False) -> None:
        in_force = self.in_force()
        before = in_force.models if in_force is not None else ()
        expect_same_platforms(before, models)
        self._rule.check(models, table)
        conflicts = rollout_conflicts(before, models, _records(table))
        if conflicts and not is_forced:
            raise FailedPrecondition("\n".join(conflicts.values()))

    def _read(self, config: model_config_pb2.ModelServerConfig) -> tuple[ModelConfig, ...]:
        root = self._settings.relative_path_root
        return models_from_message(config, relative_path_root=root, known=extensions())

    def _replace(self, models: tuple[ModelConfig, ...]) -> InForce:
        number = self._in_force.number + 1 if self._in_force is not None else 1
        self._in_force = InForce(models, is_requested=True, number=number)
        return self._in_force


def _records(table: RoutingTable) -> Mapping[str, RolloutRecord]:
    return {name: model.delivery for name, model in table.models.items()}


def _note_changes(before: tuple[ModelConfig, ...], after: tuple[ModelConfig, ...], by: str) -> None:
    """Log each difference of two lists, and who made it."""
    for line in sorted(differences(before, after)):
        log.info("config_changed by=%s change=%s", by, line, extra=audited())


def _content(models: tuple[ModelConfig, ...]) -> str:
    """Return a short text that changes with every setting of models in files, also with those of the YAML file."""
    ours = [
        (
            *(one.resources, one.batching, one.logging, one.op_libraries, one.hooks, one.version_subpath),
            _registered(one),
            one.delivery,
        )
        for one in models
    ]
    return _short_hash(f"{to_text(models)}\n{ours!r}")


def _registered(model: ModelConfig) -> RegisteredPolicy | None:
    return model.policy if isinstance(model.policy, RegisteredPolicy) else None


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
