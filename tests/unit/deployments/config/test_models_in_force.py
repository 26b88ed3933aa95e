"""Tests of the list of models in force: files, requests, changes of two operators at once, strict labels."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from core.admin.reload_request import is_settled, require_available
from core.config.extensions import ONNX, TENSORFLOW
from core.config.model_config import BatchingParameters, LoggingConfig, ModelConfig, ModelResources
from core.config.models_text import to_message
from core.config.server_settings import ModelSourceSettings, ServerSettings
from core.config.version_policy import Specific
from core.delivery.plan import DeliverySettings
from core.errors import Aborted, ConfigError, FailedPrecondition, Problem
from core.protos import model_config_pb2
from core.routing.table import RoutingTable
from core.telemetry.log_lines import AUDITED
from deployments.config.configured_models import ConfiguredModels
from deployments.config.models_in_force import Configuration
from deployments.config.startup_settings import checked
from tests.support.fakes import FakeModelList
from tests.support.sites import SETTINGS, M, Site

N = ModelConfig("n", "/n")
POLLED = ModelSourceSettings(model_config_file_poll_wait_s=5)
EMPTY = RoutingTable(0)
UNAVAILABLE = "Request to assign label to version 2 of model m, which is not currently available for inference"


def configuration(*models: ModelConfig, source: ModelSourceSettings = POLLED) -> tuple[Configuration, FakeModelList]:
    """Make a configuration that has read its files."""
    model_list = FakeModelList(*models)
    made = Configuration(source, model_list)
    made.poll(0.0, EMPTY)
    return made, model_list


def message(*models: ModelConfig) -> model_config_pb2.ModelServerConfig:
    return to_message(models)


def fingerprint(made: Configuration) -> str:
    in_force = made.in_force()
    assert in_force is not None
    return in_force.fingerprint


def names(made: Configuration) -> set[str]:
    in_force = made.in_force()
    return {one.name for one in in_force.models} if in_force is not None else set()


def test_a_change_replaces_the_list_that_its_sender_knows() -> None:
    """It is numbered, so that its sender learns when it is in force."""
    made, _ = configuration(M)

    changed = made.change(message(M, N), fingerprint(made), EMPTY)

    assert (names(made), changed.is_requested, changed.number) == ({"m", "n"}, True, 1)
    assert made.change(message(M), changed.fingerprint, EMPTY).number == 2


def test_of_two_changes_of_the_same_list_one_is_refused() -> None:
    """Its sender reads again; otherwise the first change would be lost without a word."""
    made, _ = configuration(M)
    known = fingerprint(made)
    made.change(message(M, N), known, EMPTY)

    with pytest.raises(Aborted):
        made.change(message(M, ModelConfig("o", "/o")), known, EMPTY)

    assert names(made) == {"m", "n"}


def test_many_operators_at_once_lose_nothing() -> None:
    """Everyone repeats what was refused, and in the end every change is there."""
    made, _ = configuration(M)

    def add(name: str) -> None:
        while True:
            in_force = made.in_force()
            assert in_force is not None
            try:
                made.change(message(*in_force.models, ModelConfig(name, f"/{name}")), in_force.fingerprint, EMPTY)
            except Aborted:
                continue
            return

    operators = [threading.Thread(target=add, args=(f"x{number}",)) for number in range(8)]
    for one in operators:
        one.start()
    for one in operators:
        one.join(10)

    assert names(made) == {"m", *(f"x{number}" for number in range(8))}


@pytest.mark.parametrize(
    "bad", [message(M, M), message(ModelConfig("", "/x")), message(ModelConfig("r", "relative")), message(replace(M, labels={"a": -1}))]
)  # fmt: skip
def test_a_change_with_mistakes_changes_nothing(bad) -> None:
    """Nor does a reload request."""
    made, _ = configuration(M)

    with pytest.raises(ConfigError):
        made.change(bad, fingerprint(made), EMPTY)
    with pytest.raises(ConfigError):
        made.reload(bad, EMPTY)

    assert names(made) == {"m"}


def test_before_any_list_was_read_nothing_can_be_changed() -> None:
    """There is nothing yet that the sender could know."""
    made, model_list = configuration()
    fresh = Configuration(POLLED, model_list)

    with pytest.raises(Aborted):
        fresh.change(message(M), fingerprint(made), EMPTY)


def test_a_request_that_comes_before_the_first_look_at_the_files_stays() -> None:
    """The watcher answers before its first tick is over."""
    made = Configuration(POLLED, FakeModelList(M))
    made.reload(message(N), EMPTY)

    made.poll(0.0, EMPTY)

    assert (names(made), made.files()) == ({"n"}, (M,))


def test_the_content_of_the_files_counts_and_not_when_they_were_written() -> None:
    """What a request brought stays until somebody changes a file; also placement in the YAML file is content."""
    made, model_list = configuration(M)
    made.change(message(M, N), fingerprint(made), EMPTY)
    made.poll(5.0, EMPTY)
    assert names(made) == {"m", "n"}

    model_list.configs = (replace(M, resources=replace(M.resources, num_replicas=2)),)
    made.poll(10.0, EMPTY)

    assert names(made) == {"m"}
    assert made.in_force().is_requested is False


CHANGED: dict[str, object] = {
    "name": "other",
    "base_path": "/other",
    "policy": Specific(frozenset({7})),
    "labels": {"stable": 1},
    "resources": ModelResources(num_cpus=2.0),
    "logging": (LoggingConfig(filename_prefix="/logs/m"),),
    "batching": BatchingParameters(8),
    "platform": ONNX,
    "op_libraries": ("/opt/ops.so",),
    "hooks": "pictures:Hooks",
    "version_subpath": "data/model",
    "delivery": DeliverySettings(traffic={"1": 10_000}),
}


@pytest.mark.parametrize("setting", [one.name for one in fields(ModelConfig)])
def test_every_setting_of_a_model_is_content_of_the_files(setting: str) -> None:
    """A setting that was forgotten would never be followed."""
    made, model_list = configuration(M)
    model_list.configs = (replace(M, **{setting: CHANGED[setting]}),)

    made.poll(5.0, EMPTY)

    in_force = made.in_force()
    assert in_force is not None
    assert in_force.models == model_list.configs


def test_mistakes_are_kept_until_they_are_mended() -> None:
    """The last good list stays in force."""
    made, model_list = configuration(M)
    model_list.problems = (Problem("typo"),)
    made.poll(5.0, EMPTY)
    assert (names(made), made.problems) == ({"m"}, (Problem("typo"),))

    model_list.problems = ()
    made.poll(10.0, EMPTY)

    assert made.problems == ()


def test_a_change_overrides_what_the_yaml_file_says_and_keeps_its_placement(tmp_path: Path) -> None:
    """A label that is moved by a command must not be refused because the file names another version."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("models:\n  m:\n    base_path: /m\n    num_gpus: 0.5\n    labels: {stable: 1}\n")
    models = ConfiguredModels(ServerSettings(source=ModelSourceSettings(model_settings_file=str(settings))))
    made = Configuration(POLLED, models)
    made.poll(0.0, EMPTY)
    (listed,) = made.in_force().models

    moved = replace(listed, labels={"stable": 2}, policy=Specific(frozenset({1, 2})))
    (changed,) = made.change(message(moved), fingerprint(made), EMPTY).models

    assert changed == moved
    assert changed.resources.num_gpus == 0.5
    assert made.change(message(), fingerprint(made), EMPTY).models == ()


LOGS = "{filename_prefix: /logs/a, sampling_rate: 1}, {collector: json_lines, filename_prefix: /logs/b}"


def with_logs(settings: Path, logs: str) -> Configuration:
    """Make a configuration of a model whose request logs only our YAML file can say."""
    settings.write_text(f"models:\n  m:\n    base_path: /m\n    logging: [{logs}]\n")
    source = replace(POLLED, model_settings_file=str(settings))
    return Configuration(source, ConfiguredModels(ServerSettings(source=source)))


def test_several_request_logs_outlive_a_change_and_the_watcher(tmp_path: Path) -> None:
    """A list of models as it travels holds one log for each model; the others still stand in the YAML file."""
    made = with_logs(tmp_path / "settings.yaml", LOGS)
    made.poll(0.0, EMPTY)
    (listed,) = made.in_force().models
    assert len(listed.logging) == 2

    (changed,) = made.change(message(replace(listed, labels={"a": 1})), fingerprint(made), EMPTY).models
    successor = with_logs(tmp_path / "settings.yaml", LOGS)
    successor.adopt(made.published(made.in_force()))
    successor.poll(0.0, EMPTY)

    assert changed.logging == listed.logging
    assert successor.in_force().models == (changed,)


def test_a_changed_list_of_request_logs_is_new_content(tmp_path: Path) -> None:
    """Although the list of models in TensorFlow Serving's format stays as it is."""
    made = with_logs(tmp_path / "settings.yaml", LOGS)
    made.poll(0.0, EMPTY)
    (tmp_path / "settings.yaml").write_text((tmp_path / "settings.yaml").read_text().replace("/logs/b", "/logs/c"))

    made.poll(5.0, EMPTY)

    assert [one.filename_prefix for one in made.in_force().models[0].logging] == ["/logs/a", "/logs/c"]


def test_unused_models_of_the_yaml_file_are_reported_at_the_start(tmp_path: Path) -> None:
    """A name that is misspelt there would otherwise lose its settings silently."""
    (tmp_path / "models.config").write_text(
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" } }'
    )
    (tmp_path / "settings.yaml").write_text("models:\n  mm:\n    num_gpus: 1\n")
    source = ModelSourceSettings(str(tmp_path / "models.config"), model_settings_file=str(tmp_path / "settings.yaml"))

    _, warnings = checked(ServerSettings(source=source))

    assert warnings == (f"{tmp_path / 'settings.yaml'}:3: models.mm: has no base_path and is not in models.config",)


# Platforms.

TENSORFLOW_M, ONNX_M = replace(M, platform=TENSORFLOW), replace(M, platform=ONNX)
ANOTHER_PLATFORM = (
    "Illegal to change a model's platform. For model m platform was tensorflow and new platform requested is onnx"
)


def platforms(made: Configuration) -> dict[str, str]:
    """Return the platform of each model in force."""
    in_force = made.in_force()
    assert in_force is not None
    return {one.name: one.platform.name for one in in_force.models}


def test_a_request_cannot_change_the_platform_of_a_model() -> None:
    """Nothing of it is taken (TensorFlow Serving, config reload)."""
    made, _ = configuration(TENSORFLOW_M)

    with pytest.raises(FailedPrecondition) as refused:
        made.reload(message(ONNX_M, replace(N, platform=ONNX)), EMPTY)
    with pytest.raises(FailedPrecondition, match="Illegal to change a model's platform"):
        made.change(message(ONNX_M), fingerprint(made), EMPTY)

    assert str(refused.value) == ANOTHER_PLATFORM
    assert platforms(made) == {"m": "tensorflow"}


def test_a_model_that_was_removed_may_come_back_with_another_platform() -> None:
    """With two requests."""
    made, _ = configuration(TENSORFLOW_M, N)

    made.reload(message(replace(N, platform=TENSORFLOW)), EMPTY)
    made.reload(message(replace(N, platform=TENSORFLOW), ONNX_M), EMPTY)

    assert platforms(made) == {"n": "tensorflow", "m": "onnx"}


def test_polled_files_cannot_change_the_platform_of_a_model() -> None:
    """The list in force stays, and the problem is shown until the files are right again."""
    made, model_list = configuration(TENSORFLOW_M)
    model_list.configs = (ONNX_M, N)

    made.poll(5.0, EMPTY)
    problems, before = made.problems, platforms(made)
    model_list.configs = (TENSORFLOW_M, N)
    made.poll(10.0, EMPTY)

    assert problems == (Problem(ANOTHER_PLATFORM),)
    assert before == {"m": "tensorflow"}
    assert (made.problems, platforms(made)) == ((), {"m": "tensorflow", "n": "any"})


def test_polled_files_may_declare_the_platform_of_a_model_that_had_none() -> None:
    """Its versions showed by their files what they are."""
    made, model_list = configuration(M)
    model_list.configs = (ONNX_M,)

    made.poll(5.0, EMPTY)

    assert (made.problems, platforms(made)) == ((), {"m": "onnx"})


def test_a_restarted_watcher_keeps_the_platforms_of_a_request() -> None:
    """It adopts the list that its predecessor published."""
    made, model_list = configuration(TENSORFLOW_M)
    made.reload(message(TENSORFLOW_M, replace(N, platform=ONNX)), EMPTY)
    in_force = made.in_force()
    assert in_force is not None
    successor = Configuration(POLLED, model_list)
    successor.adopt(made.published(in_force))
    successor.poll(0.0, EMPTY)

    with pytest.raises(FailedPrecondition, match="For model n platform was onnx"):
        successor.reload(message(TENSORFLOW_M, replace(N, platform=TENSORFLOW)), EMPTY)

    assert platforms(successor) == {"m": "tensorflow", "n": "onnx"}


# Strict labels.


def strict(*, allow: bool = False) -> ServerSettings:
    source = replace(SETTINGS.source, strict_version_labels=True, allow_labels_for_unavailable=allow)
    return replace(SETTINGS, source=source)


def labelled(**labels: int) -> ModelConfig:
    return replace(M, labels=labels, policy=Specific(frozenset({1, 2})))


def strict_site(*, allow: bool = False, labels: dict[str, int] | None = None) -> Site:
    """A site in which version 1 of model `m` answers and version 2 is not there."""
    site = Site((1,), configs=(labelled(**(labels or {})),), settings=strict(allow=allow))
    site.settle()
    return site


def reload(site: Site, *models: ModelConfig) -> None:
    site.watch.configuration.reload(message(*models), site.watch.table)


def test_case_J21_a_label_for_a_version_that_is_not_loaded_is_refused() -> None:
    """The whole request is, and its models do not come either; accepted later, when the version answers."""
    site = strict_site()
    site.source.write("/n", 1)
    with pytest.raises(FailedPrecondition) as caught:
        reload(site, labelled(canary=2), N)
    site.settle()
    assert str(caught.value) == UNAVAILABLE
    assert site.host.running == {"m:1"}

    site.source.write("/m", 2)
    site.settle()
    reload(site, labelled(canary=2), N)
    site.settle()

    assert site.router.table.resolve("m", label="canary").app == "m:2"
    assert site.host.running == {"m:1", "m:2", "n:1"}


def test_case_J23_with_the_flag_an_existing_label_still_must_not_move_to_a_version_that_is_not_loaded() -> None:
    """A new one may name it."""
    site = strict_site(allow=True, labels={"a": 1})

    with pytest.raises(FailedPrecondition, match="not currently available for inference"):
        reload(site, labelled(a=2))
    reload(site, labelled(a=1, b=2))
    site.settle()

    assert site.router.table.models["m"].labels == {"a": 1, "b": 2}


def test_case_J24_without_strict_labels_every_label_may_move() -> None:
    """What upstream has as a force option is our default; and requests by it go on being answered."""
    site = Site((1,), configs=(labelled(a=1),))
    site.settle()

    reload(site, labelled(a=2))
    site.settle()

    assert site.router.table.models["m"].pending_labels == {"a": 2}
    assert site.router.table.resolve("m", label="a").app == "m:1"


def test_a_file_with_a_refused_label_is_taken_once_the_version_answers() -> None:
    """Until then the old content is in force, and the reason is reported."""
    site = strict_site()
    site.source.write("/n", 1)
    site.model_list.configs = (labelled(canary=2), N)
    site.settle()
    assert site.host.running == {"m:1"}
    assert site.router.table.in_force.problems == (Problem(UNAVAILABLE),)

    site.source.write("/m", 2)
    site.settle(12)

    assert site.host.running == {"m:1", "m:2", "n:1"}
    assert site.router.table.in_force.problems == ()


def test_a_new_watcher_does_not_question_the_labels_in_force() -> None:
    """A label whose version ended stays declared, as upstream; a restart must not leave all models alone for it."""
    site = strict_site(labels={"a": 1})
    site.source.remove("/m", 1)
    site.source.write("/m", 2)
    site.settle()
    site.restart()
    site.settle()

    assert (site.host.running, site.router.table.in_force.problems) == ({"m:2"}, ())


@pytest.mark.parametrize("allow", [False, True])
def test_a_start_with_labels_is_refused_in_strict_mode_unless_the_flag_allows_it(allow, tmp_path: Path) -> None:
    """At the start no version answers (TensorFlow Serving, version labels)."""
    file = tmp_path / "models.config"
    file.write_text(
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow"\n'
        'version_labels { key: "stable" value: 2 } } }'
    )
    source = ModelSourceSettings(str(file), strict_version_labels=True, allow_labels_for_unavailable=allow)
    if allow:
        assert checked(ServerSettings(source=source))
        return

    with pytest.raises(FailedPrecondition, match=UNAVAILABLE):
        checked(ServerSettings(source=source))


# Requests that add and remove models.


def test_case_J2_a_server_that_starts_with_no_model_takes_one_by_request() -> None:
    """The request is answered when the model is."""
    site = Site(configs=())
    site.settle()
    assert site.watch.table.settled

    added = site.watch.configuration.reload(message(M), site.watch.table).added
    site.tick()
    assert (added, is_settled(site.watch.table, added)) == ({"m"}, False)
    site.settle()

    assert is_settled(site.watch.table, added)
    require_available(site.watch.table, added)


def test_case_J16_models_leave_and_come_with_the_list() -> None:
    """After {0, 1} then {1, 2}, 0 is not found and the others answer; 1 is not loaded again."""
    zero, one, two = (ModelConfig(f"m{number}", f"/m{number}") for number in range(3))
    site = Site(configs=(zero, one))
    for number in range(3):
        site.source.write(f"/m{number}", 1)
    site.settle()

    reload(site, one, two)
    site.settle()

    assert site.host.running == {"m1:1", "m2:1"}
    assert site.host.deployed == ["m0:1", "m1:1", "m2:1"]
    assert site.router.table.models["m0"].routes == {}


def test_a_request_that_comes_while_a_new_watcher_recalls_the_former_list_is_not_lost() -> None:
    """Requests come in another thread, at any moment."""
    site = Site()
    site.source.write("/n", 1)
    site.settle()
    site.restart()
    placed = site.model_list.placed

    def placed_meanwhile(listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        reload(site, M, N)
        return placed(listed)

    site.model_list.placed = placed_meanwhile
    site.settle()

    assert site.host.running == {"m:1", "n:1"}


def test_case_J29_a_file_that_is_not_polled_is_not_read_again() -> None:
    """With a poll period of 0 the rewritten file does not count."""
    site = Site(settings=replace(SETTINGS, source=ModelSourceSettings(model_config_file_poll_wait_s=0)))
    site.source.write("/n", 1)
    site.settle()
    site.model_list.configs = (N,)

    site.settle()

    assert site.host.running == {"m:1"}


@pytest.fixture
def audit(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of the audit log so far."""
    caplog.set_level(logging.INFO, "deployments")
    return lambda: [one.getMessage() for one in caplog.records if getattr(one, AUDITED, False)]


def test_every_change_of_the_list_has_a_line_that_says_who_made_it(audit) -> None:
    """A file by its name, a request as such; what did not change has none."""
    source = replace(POLLED, model_config_file="/models.config")
    made, model_list = configuration(M, source=source)
    assert audit() == []

    model_list.configs = (M, N)
    made.poll(10.0, EMPTY)
    made.poll(20.0, EMPTY)
    made.change(message(replace(M, labels={"stable": 1}), N), fingerprint(made), EMPTY, "admin")
    made.reload(message(M), EMPTY)

    assert audit() == [
        "config_changed by=/models.config change=n: added, base path /n, policy latest 1",
        "config_changed by=admin change=m: label stable none -> 1",
        "config_changed by=a request change=m: label stable 1 -> none",
        "config_changed by=a request change=n: removed",
    ]


def test_a_file_that_is_corrected_is_said_to_be(audit) -> None:
    """Otherwise its mistake would be the last word, also where it is corrected to what it was."""
    source = replace(POLLED, model_config_file="/models.config")
    made, model_list = configuration(M, source=source)

    for now_s, problems in ((10.0, (Problem("no", "/models.config", 3),)), (20.0, ()), (30.0, ())):
        model_list.problems = problems
        made.poll(now_s, EMPTY)

    assert audit() == ["config_refused problems=/models.config:3: no", "config_accepted files=/models.config"]
