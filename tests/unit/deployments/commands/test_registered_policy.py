"""Commands on a model whose version policy is of a package, which a list of models cannot express."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.config.server_settings import ServerSettings
from core.config.version_policy import Latest, RegisteredPolicy, Specific
from deployments.config.configured_models import ConfiguredModels
from tests.support.admin_server import AdminServer
from tests.support.clients import wait_until
from tests.support.commands import done, in_force
from tests.support.extension_packages import install_example, on_path
from tests.support.sites import SETTINGS, Site

POLICY = RegisteredPolicy("newest_of_each_major", '{"digits": 1}')


@pytest.fixture
def live(tmp_path: Path) -> Iterator[AdminServer]:
    """A server of model `m`, of whose versions 11, 12 and 23 the last two are served."""
    (tmp_path / "packages").mkdir()
    install_example(tmp_path / "packages")
    file = tmp_path / "s.yaml"
    file.write_text("models:\n  m:\n    base_path: /m\n    version_policy: {newest_of_each_major: {digits: 1}}\n")
    source = replace(SETTINGS.source, model_settings_file=str(file))
    with on_path(tmp_path / "packages"):
        site = Site((11, 12, 23))
        site.model_list = ConfiguredModels(ServerSettings(source=source))
        site.restart()
        site.settle()
        assert site.host.running == {"m:12", "m:23"}
        with AdminServer(site) as server:
            yield server


def test_a_label_leaves_the_policy_as_it_is(live: AdminServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The list that the command sends back does not contain it."""
    done(live, capsys, "label", "m", "best", "12")

    model = in_force(live)["m"]
    assert (model.policy, model.labels) == (POLICY, {"best": 12})
    live.site.source.write("/m", 13)
    wait_until(lambda: live.site.host.running == {"m:13", "m:23"}, "the policy goes on")


def test_another_watcher_goes_on_with_the_policy(live: AdminServer, capsys: pytest.CaptureFixture[str]) -> None:
    """It adopts the list as routers have it, and the policy from our file."""
    done(live, capsys, "label", "m", "best", "12")
    table = live.site.watch.table

    site = Site((11, 12, 23), running={"m:12": 1, "m:23": 1})
    site.model_list = live.site.model_list
    site.router.table = table
    site.restart()
    site.settle()

    (model,) = site.watch.configuration.in_force().models
    assert (model.policy, model.labels) == (POLICY, {"best": 12})


def test_loading_a_version_that_is_not_selected_lists_versions(
    live: AdminServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for a policy of TensorFlow Serving; what the policy selects is loaded already."""
    same = done(live, capsys, "load", "m", "12")
    done(live, capsys, "load", "m", "11")

    assert "nothing to change" in same
    assert in_force(live)["m"].policy == Specific(frozenset({11, 12, 23}))
    wait_until(lambda: live.site.host.running == {"m:11", "m:12", "m:23"}, "all three answer")


def test_unloading_a_version_lists_the_others(live: AdminServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy would load it again."""
    done(live, capsys, "unload", "m", "12")

    assert in_force(live)["m"].policy == Specific(frozenset({23}))
    wait_until(lambda: live.site.host.running == {"m:23"}, "12 is unloaded")


def test_a_policy_of_a_command_replaces_it(live: AdminServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Also the one that is the default."""
    printed = done(live, capsys, "load", "m", "--policy", "latest")

    assert "policy as the settings file says, or latest 1 -> latest 1" in printed
    assert in_force(live)["m"].policy == Latest()
    wait_until(lambda: live.site.host.running == {"m:23"}, "one is left")


def test_changed_arguments_in_the_file_count(live: AdminServer) -> None:
    """As any other change of the file."""
    file = Path(live.site.model_list._source.model_settings_file)
    file.write_text(file.read_text().replace("digits: 1", "digits: 1, majors: 1"))

    wait_until(lambda: live.site.host.running == {"m:23"}, "the newer major is left")


def test_a_policy_that_fails_is_shown_and_changes_nothing(
    live: AdminServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it works again; other models are not concerned."""
    policy = type(in_force(live)["m"].policy.policy)
    works = policy.select

    def fails(self: object, found: frozenset[int]) -> frozenset[int]:
        raise KeyError("seven")

    monkeypatch.setattr(policy, "select", fails)
    live.site.source.write("/m", 13)
    wait_until(lambda: "KeyError" in done(live, capsys, "status"), "the status says why")
    assert live.site.host.running == {"m:12", "m:23"}

    monkeypatch.setattr(policy, "select", works)
    wait_until(lambda: live.site.host.running == {"m:13", "m:23"}, "it works again")
    wait_until(lambda: "KeyError" not in done(live, capsys, "status"), "the status is clean")
