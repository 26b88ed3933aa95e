"""Sets up logging: a file for each process in the folder of Ray's session, where Ray's dashboard shows it.

Warnings and announced records also go to the standard error of the process; Ray forwards them to the terminal of
`serve run`. A log that cannot be written never stops a process.
"""

from __future__ import annotations

import logging
import re
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from core.config.server_settings import LogSettings
from core.telemetry.log_lines import ANNOUNCED, AUDITED, LineFormatter, LineStyle

log = logging.getLogger(__name__)

LARGEST_FILE_BYTES = 32 * 1024 * 1024
KEPT_FILES = 4
LONGEST_NAME = 150
OURS = ("core", "deployments")
UNFIT = re.compile(r"[^\w.-]", re.ASCII)


def configure(settings: LogSettings, kind: str, *names: str) -> Path | None:
    """Set up the log of a process of this kind; returns its file, or None where there is no session."""
    return log_into(session_logs(), settings, kind, *names)


def log_into(folder: Path, settings: LogSettings, kind: str, *names: str) -> Path | None:
    """Set up the log of this process in a folder."""
    formatter = LineFormatter(kind, LineStyle.JSON if settings.as_json else LineStyle.TEXT)
    file = folder / file_name(kind, *names)
    handlers: list[logging.Handler] = [_terminal(formatter)]
    problem = ""
    try:
        handlers.append(_file(file, formatter))
    except OSError as error:
        problem = str(error)
    _use(handlers, settings.level)
    if problem:
        log.warning("log_not_written file=%s error=%s", str(file), problem)
        return None
    return file


def audit_into(folder: Path, settings: LogSettings) -> None:
    """Write what is audited by this process, the watcher, into a file of its own, too; it is JSON whatever others are.

    A level above `info` does not silence it.
    """
    file = folder / file_name("audit")
    try:
        handler = _file(file, LineFormatter("watcher", LineStyle.JSON))
    except OSError as error:
        log.warning("log_not_written file=%s error=%s", str(file), str(error))
        return
    handler.addFilter(lambda record: getattr(record, AUDITED, False))
    for name in OURS:
        logger = logging.getLogger(name)
        for one in logger.handlers:
            one.setLevel(settings.level.upper())
        logger.setLevel(min(logger.level, logging.INFO))
        logger.addHandler(handler)


def file_name(kind: str, *names: str) -> str:
    """Return the name of a process's file, recognizable in a list of files."""
    return UNFIT.sub("_", "_".join(("ray_model_server", kind, *names)))[:LONGEST_NAME] + ".log"


def session_logs() -> Path:
    """Return the folder of the logs of Ray's session on this node."""
    import ray  # noqa: PLC0415 - a child of a version host has no Ray, and is told the folder

    context = ray.get_runtime_context()
    return Path(context.get_temp_dir(), context.get_session_name(), "logs")


def _file(path: Path, formatter: logging.Formatter) -> logging.Handler:
    handler = RotatingFileHandler(
        path, maxBytes=LARGEST_FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(formatter)
    return handler


def _terminal(formatter: logging.Formatter) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or getattr(record, ANNOUNCED, False))
    return handler


def _use(handlers: list[logging.Handler], level: str) -> None:
    """Replace the handlers of our loggers, without propagation, so that the root logger does not repeat lines."""
    for name in OURS:
        logger = logging.getLogger(name)
        for old in tuple(logger.handlers):
            logger.removeHandler(old)
            old.close()
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(level.upper())
        logger.propagate = False
