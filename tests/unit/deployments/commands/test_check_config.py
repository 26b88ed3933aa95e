"""`ray_model_server check-config`: what it prints, and its exit status."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from deployments.cli import main
from deployments.system.installed import interpreter_warnings
from tests.support.certificates import Authority, write_ssl_config
from tests.support.extension_packages import install, install_example, on_path
from tests.support.project import ROOT


def test_check_config_prints_and_exits(tmp_path: Path, capsys) -> None:
    """Text or JSON; warnings are no failure."""
    good, bad = tmp_path / "good.config", tmp_path / "bad.config"
    good.write_text('model_config_list { config { name: "m" base_path: "/none" model_platform: "tensorflow" } }')
    bad.write_text('model_config_list {\n config { name: "m" base_path: "" model_platform: "tensorflow" } }')

    assert main(["check-config", str(good)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{good} (models): no mistakes, 1 warning",
        f"  warning: {good}: m.base_path: /none is not there on this machine",
        *[f"warning: {one}" for one in interpreter_warnings()],
    ]
    assert main(["check-config", str(bad), str(tmp_path / "missing"), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["warnings"] == list(interpreter_warnings())
    assert (answer["ok"], [one["kind"] for one in answer["files"]]) == (False, ["models", None])
    assert answer["files"][0]["problems"][0]["line"] == 2
    assert "cannot be read" in answer["files"][1]["problems"][0]["message"]
    bad.write_text('model_config_list {\n config { name: "m" base_path: "rel" model_platform: "tensorflow" } }')
    assert main(["check-config", str(bad), "--relative_path_root", str(tmp_path)]) == 0


def test_the_samples_pass_as_they_are(capsys) -> None:
    """The root of their relative base paths is in the config of Ray Serve, if that is checked with them."""
    configs = [str(ROOT / "configs" / name) for name in ("models.config", "model_settings.yaml", "app.yaml")]

    assert main(["check-config", *configs[:1]]) == 0
    assert "is relative: the server needs --relative_path_root" in capsys.readouterr().out
    assert main(["check-config", *configs]) == 0
    assert capsys.readouterr().out.count("no mistakes, no warnings") == 3


def test_check_config_looks_into_certificates(tmp_path: Path, capsys) -> None:
    """A key that does not belong to its certificate is found before a server starts with it."""
    authority = Authority()
    write_ssl_config(tmp_path / "good", authority)
    assert main(["check-config", str(tmp_path / "good")]) == 0
    (key, _), (_, certificate) = authority.issue(), authority.issue()
    texts = [one.replace("\n", "\\n") for one in (key, certificate)]
    (tmp_path / "bad").write_text(f'server_key: "{texts[0]}" server_cert: "{texts[1]}"')

    assert main(["check-config", str(tmp_path / "bad")]) == 1
    assert "(ssl): 1 mistake" in capsys.readouterr().out


def test_check_config_checks_files_against_each_other(tmp_path: Path, capsys) -> None:
    """A model that only the settings name has no effect."""
    (tmp_path / "m.config").write_text("model_config_list {}")
    (tmp_path / "s.yaml").write_text("models:\n  typo:\n    num_gpus: 1\n")

    assert main(["check-config", str(tmp_path / "m.config"), str(tmp_path / "s.yaml")]) == 0
    assert "models.typo: has no base_path and is not in models.config" in capsys.readouterr().out


def test_check_config_knows_what_packages_register(tmp_path: Path, capsys) -> None:
    """What works is no mistake; what does not, says why, also a source that a server would only miss later."""
    (tmp_path / "packages").mkdir()
    install_example(tmp_path / "packages")
    install(tmp_path / "packages", "broken", {"sources": {"odd": "no_such_module:X"}})
    settings, listed = tmp_path / "s.yaml", tmp_path / "m.config"
    settings.write_text(
        "models:\n  m: {base_path: 'zip+file:///m.zip/m', platform: multiply, version_policy: newest_of_each_major}\n"
    )
    listed.write_text('model_config_list { config { name: "n" base_path: "odd://x/n" model_platform: "multiply" } }')

    with on_path(tmp_path / "packages"):
        assert main(["check-config", str(settings)]) == 0
        assert main(["check-config", str(listed)]) == 1
        settings.write_text("models:\n  m: {base_path: 'odd://x/m'}\n")
        assert main(["check-config", str(settings)]) == 1

    printed = capsys.readouterr().out
    assert "n.base_path: odd://x/n: there is no source for odd:// now: package broken 1.0 registers it" in printed
    assert "models.m.base_path: odd://x/m: there is no source for odd:// now" in printed


def test_check_config_looks_for_libraries_of_operations(tmp_path: Path, capsys) -> None:
    """Once for each path; they may be there on the nodes that serve. A relative path is a mistake."""
    (tmp_path / "there.so").touch()
    settings = tmp_path / "s.yaml"
    settings.write_text(
        f"defaults:\n  op_libraries: [/absent/d.so, {tmp_path}/there.so, ydf-tf]\n"
        f"models:\n  m:\n    base_path: {tmp_path}\n    op_libraries: [/absent/m.so]\n"
        f"  n:\n    base_path: {tmp_path}\n"
        "server:\n  op_libraries: tensorflow-text,/absent/s.so\n"
    )

    assert main(["check-config", str(settings)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"  warning: {settings}: defaults.op_libraries: /absent/d.so is not a file on this machine",
        f"  warning: {settings}: models.m.op_libraries: /absent/m.so is not a file on this machine",
        f"  warning: {settings}: server.op_libraries: /absent/s.so is not a file on this machine",
        *[f"warning: {one}" for one in interpreter_warnings()],
    ]
    settings.write_text("models:\n  m:\n    base_path: /m\n    op_libraries: [ops/custom.so]\n")
    assert main(["check-config", str(settings)]) == 1
    assert "must be the absolute path of a library, or the name of an installed package" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("written", "is_missing"),
    [
        pytest.param(["7/data/model"], False, id="there"),
        pytest.param(["6", "7/data/model"], False, id="in_one_version"),
        pytest.param(["6", "7/data"], True, id="nowhere"),
        pytest.param(["releases/data"], False, id="no_versions_yet"),
        pytest.param([], False, id="no_base_path"),
    ],
)
def test_a_subpath_that_leads_nowhere_is_a_warning(tmp_path: Path, capsys, written: list[str], is_missing) -> None:
    """With the line of the setting; the versions may lie on another machine."""
    for folder in written:
        (tmp_path / "m" / folder).mkdir(parents=True)
    file = tmp_path / "s.yaml"
    file.write_text(f"models:\n  m:\n    base_path: {tmp_path / 'm'}\n    version_subpath: data/model\n")

    assert main(["check-config", str(file)]) == 0

    text = f"{file}:4: models.m.version_subpath: leads to a folder in none of the 2 versions below {tmp_path / 'm'}"
    assert (text in capsys.readouterr().out) is is_missing


def test_what_make_serve_refuses_of_a_sound_config_of_serve_is_a_warning(tmp_path: Path, capsys) -> None:
    """Ray's own commands run such a file."""
    file = tmp_path / "app.yaml"
    application = "{import_path: 'deployments.app:build', args: {model_base_path: /m}, deployments: []}"
    file.write_text(f"applications: [{application}]\ntarget_capacity: 50\n")

    assert main(["check-config", str(file)]) == 0

    reason = "`make serve` refuses this: is not known here; `serve run` runs such a file"
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        f"{file} (serve): no mistakes, 2 warnings",
        f"  warning: {file}: target_capacity: {reason}",
        f"  warning: {file}: applications.deployments: {reason}",
    ]


@pytest.mark.parametrize("command", ["check-config", "label", "load"])
def test_the_lines_of_a_description_break_where_they_are_full(command: str, capsys) -> None:
    """A short line ends a paragraph, and does not stand in one."""
    with pytest.raises(SystemExit):
        main([command, "--help"])

    text = capsys.readouterr().out.partition("\n\n")[2].partition("\noptions:")[0].partition("\npositional")[0]
    for paragraph in text.strip().split("\n\n"):
        lines = paragraph.splitlines()
        assert all(len(one) + 1 + len(next_one.split()[0]) > 100 for one, next_one in pairwise(lines)), paragraph
