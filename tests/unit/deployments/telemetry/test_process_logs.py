"""Each process writes its own file, and sends only warnings and announced lines to a terminal."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config.server_settings import LogSettings
from core.telemetry.log_lines import announced, audited
from deployments.telemetry.process_logs import OURS, audit_into, file_name, log_into

LOG = logging.getLogger("deployments.something")


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """Yield the loggers back as they were."""
    loggers = [logging.getLogger(name) for name in OURS]
    before = [(one, tuple(one.handlers), one.level, one.propagate) for one in loggers]
    yield
    for one, handlers, level, propagate in before:
        for handler in set(one.handlers) - set(handlers):
            one.removeHandler(handler)
            handler.close()
        one.setLevel(level)
        one.propagate = propagate


def lines(file: Path | None) -> list[str]:
    assert file is not None
    return file.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (("watcher",), "ray_model_server_watcher.log"),
        (("router", "a1b2"), "ray_model_server_router_a1b2.log"),
        (("model", "my/../model", "3", "x"), "ray_model_server_model_my_.._model_3_x.log"),
        (("model", "größe", "3", "x"), "ray_model_server_model_gr__e_3_x.log"),
    ],
)
def test_a_file_has_a_name_that_people_understand(names: tuple[str, ...], name: str) -> None:
    """A model's name never leads out of the folder."""
    assert file_name(*names) == name


def test_a_very_long_model_name_still_makes_a_file(tmp_path: Path) -> None:
    """File systems allow 255 bytes."""
    assert log_into(tmp_path, LogSettings(), "model", "m" * 1000, "1") is not None


def test_messages_of_both_packages_go_to_the_file(tmp_path: Path) -> None:
    """Those of INFO, too, and not those of other libraries."""
    file = log_into(tmp_path, LogSettings(), "watcher")

    LOG.info("version_deleted app=%s", "m:1")
    LOG.debug("not_written")
    logging.getLogger("core.something").info("decided what=%s", "x")
    logging.getLogger("other").warning("not ours")

    assert [line.split()[2:] for line in lines(file)] == [
        ["watcher", "version_deleted", "app=m:1"],
        ["watcher", "decided", "what=x"],
    ]


def test_lines_are_json_where_that_is_asked_for(tmp_path: Path) -> None:
    """Each line is an object (flag log_format)."""
    file = log_into(tmp_path, LogSettings(as_json=True), "router", "a")

    LOG.warning("tick_failed error=%r", "no\nanswer")

    [line] = lines(file)
    assert json.loads(line)["error"] == "no\nanswer"


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_says_what_is_written(tmp_path: Path, level: str, count: int) -> None:
    """What is less serious is left out (flag log_level)."""
    file = log_into(tmp_path, LogSettings(level=level), "watcher")

    LOG.debug("one")
    LOG.info("two")
    LOG.warning("three")

    assert len(lines(file)) == count


def test_a_terminal_sees_warnings_and_what_is_announced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Everything else is in the file only."""
    log_into(tmp_path, LogSettings(), "watcher")

    LOG.info("quiet")
    LOG.info("front_door_open rest_port=%s", 8501, extra=announced())
    LOG.warning("loud")

    assert [line.split()[3] for line in capfd.readouterr().err.splitlines()] == ["front_door_open", "loud"]


def test_configuring_again_does_not_double_lines(tmp_path: Path) -> None:
    """The newest choice counts, and the file goes on."""
    log_into(tmp_path, LogSettings(), "watcher")
    file = log_into(tmp_path, LogSettings(), "watcher")

    LOG.info("once")

    assert len(lines(file)) == 1


def test_a_log_that_cannot_be_written_is_said_and_nothing_else_fails(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The process works on, with its terminal alone."""
    assert log_into(tmp_path / "missing", LogSettings(), "watcher") is None

    assert "log_not_written" in capfd.readouterr().err


def test_text_that_is_no_utf8_is_written(tmp_path: Path) -> None:
    """A model may be named by bytes that mean nothing."""
    file = log_into(tmp_path, LogSettings(), "watcher")

    LOG.info("version_deleted app=%s", b"\xff".decode("utf-8", "surrogateescape"))

    assert "udcff" in lines(file)[0]


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_what_is_audited_is_also_in_a_file_of_its_own(tmp_path: Path, level: str) -> None:
    """As JSON, and whatever the level of the other log is, which stays as it was."""
    settings = LogSettings(level=level)
    watcher = log_into(tmp_path, settings, "watcher")
    audit_into(tmp_path, settings)

    LOG.info("config_changed by=%s change=%s", "a request", "m: removed", extra=audited())
    LOG.info("something_else count=%d", 1)
    LOG.debug("detail count=%d", 2)

    [line] = lines(tmp_path / "ray_model_server_audit.log")
    told = json.loads(line)
    assert (told["event"], told["by"], told["change"]) == ("config_changed", "a request", "m: removed")
    assert len(lines(watcher)) == {"debug": 3, "info": 2, "error": 0}[level]


def test_an_audit_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """And nothing else fails."""
    watcher = log_into(tmp_path, LogSettings(), "watcher")
    (tmp_path / "ray_model_server_audit.log").mkdir()

    audit_into(tmp_path, LogSettings())

    assert "log_not_written" in lines(watcher)[-1]
