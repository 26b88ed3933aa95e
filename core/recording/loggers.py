"""The loggers of a process: one for each distinct configuration, shared by all models that have it.

A configuration that stays keeps its logger, so that a change elsewhere closes no file. If a logger cannot be made, the
loggers stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from core.config.model_config import LoggingConfig


class Closable(Protocol):
    """A logger, as far as it is of interest here."""

    def close(self) -> None:
        """Take no more records and write the queued ones; returns at once."""


L = TypeVar("L", bound=Closable)


class RequestLoggers(Generic[L]):
    """The loggers of one process, by model."""

    def __init__(self, make: Callable[[LoggingConfig], L]) -> None:
        self._make = make
        self._loggers: dict[LoggingConfig, L] = {}
        self._by_model: Mapping[str, tuple[L, ...]] = {}

    def update(self, configs: Mapping[str, Iterable[LoggingConfig]]) -> None:
        """Follow a new configuration of all models; whatever making a logger raises leaves everything as it was."""
        wanted = {model: tuple(dict.fromkeys(listed)) for model, listed in configs.items()}
        loggers = self._made(dict.fromkeys(config for listed in wanted.values() for config in listed))
        dropped = [logger for config, logger in self._loggers.items() if config not in loggers]
        self._loggers = loggers
        self._by_model = {model: tuple(loggers[config] for config in listed) for model, listed in wanted.items()}
        for logger in dropped:
            logger.close()

    def _made(self, configs: Iterable[LoggingConfig]) -> dict[LoggingConfig, L]:
        loggers: dict[LoggingConfig, L] = {}
        try:
            for config in configs:
                loggers[config] = self._loggers.get(config) or self._make(config)
        except BaseException:
            for config, logger in loggers.items():
                if config not in self._loggers:
                    logger.close()
            raise
        return loggers

    def of(self, model: str) -> tuple[L, ...]:
        """Return the loggers of a model, in the order of its configuration."""
        return self._by_model.get(model, ())

    @property
    def all(self) -> tuple[L, ...]:
        """Return every logger once."""
        return tuple(self._loggers.values())
