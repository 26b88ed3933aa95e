"""Tests of which loggers a process has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config.model_config import LoggingConfig
from core.recording.loggers import RequestLoggers

ONE = LoggingConfig(filename_prefix="/logs/one", sampling_rate=1.0)
TWO = LoggingConfig(filename_prefix="/logs/two", sampling_rate=1.0)
BAD = LoggingConfig("bad")


class Collector:
    """A logger that only remembers."""

    def __init__(self, config: LoggingConfig) -> None:
        self.config = config
        self.collected: list[str] = []
        self.closed = 0

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed += 1


class Factory:
    """Makes collectors, all but bad ones."""

    def __init__(self) -> None:
        self.made: list[Collector] = []

    def __call__(self, config: LoggingConfig) -> Collector:
        """Make one."""
        if config == BAD:
            raise OSError("no such collector")
        self.made.append(Collector(config))
        return self.made[-1]


@pytest.fixture
def factory() -> Factory:
    return Factory()


@pytest.fixture
def loggers(factory: Factory) -> RequestLoggers[Collector]:
    return RequestLoggers(factory)


def log(loggers: RequestLoggers[Collector], model: str, request: str) -> None:
    """Log a request with every logger of its model."""
    for logger in loggers.of(model):
        logger.collected.append(request)


def test_case_R1_nothing_configured_collects_nothing(loggers: RequestLoggers[Collector], factory: Factory) -> None:
    """A request of any model is fine, and goes nowhere."""
    loggers.update({})
    log(loggers, "m", "request")

    assert factory.made == []


def test_case_R2_a_model_without_a_log_collects_nothing(loggers: RequestLoggers[Collector], factory: Factory) -> None:
    """Its neighbour's log does not get its requests."""
    loggers.update({"m": (ONE,), "n": ()})
    log(loggers, "n", "request")
    log(loggers, "unknown", "request")

    assert [one.collected for one in factory.made] == [[]]


def test_case_R3_each_model_logs_its_own_requests(loggers: RequestLoggers[Collector], factory: Factory) -> None:
    """Two models, two logs."""
    loggers.update({"m": (ONE,), "n": (TWO,)})
    log(loggers, "m", "of m")
    log(loggers, "n", "of n")

    assert [(one.config, one.collected) for one in factory.made] == [(ONE, ["of m"]), (TWO, ["of n"])]


def test_case_R5_a_changed_rate_makes_a_new_logger(loggers: RequestLoggers[Collector], factory: Factory) -> None:
    """The old one is closed; requests go to the new one."""
    loggers.update({"m": (ONE,)})
    loggers.update({"m": (replace(ONE, sampling_rate=0.5),)})
    log(loggers, "m", "request")

    assert [(one.closed, one.collected) for one in factory.made] == [(1, []), (0, ["request"])]


def test_case_R6_models_share_the_logger_of_one_configuration(
    loggers: RequestLoggers[Collector], factory: Factory
) -> None:
    """What is equal is the same."""
    loggers.update({"m": (ONE,), "n": (replace(ONE),)})
    log(loggers, "m", "of m")
    log(loggers, "n", "of n")

    assert [one.collected for one in factory.made] == [["of m", "of n"]]


def test_an_unchanged_configuration_keeps_its_logger(loggers: RequestLoggers[Collector], factory: Factory) -> None:
    """Nothing is closed or made when only others change."""
    loggers.update({"m": (ONE,)})
    loggers.update({"m": (replace(ONE),), "n": (TWO,)})
    loggers.update({"m": (ONE,)})

    assert [(one.config, one.closed) for one in factory.made] == [(ONE, 0), (TWO, 1)]


def test_a_shared_logger_lives_as_long_as_one_model_wants_it(
    loggers: RequestLoggers[Collector], factory: Factory
) -> None:
    """A model that leaves does not close its neighbour's log."""
    loggers.update({"m": (ONE,), "n": (ONE,)})
    loggers.update({"n": (ONE,)})
    log(loggers, "m", "of m")
    log(loggers, "n", "of n")

    assert [(one.closed, one.collected) for one in factory.made] == [(0, ["of n"])]


def test_a_model_may_have_several_loggers(loggers: RequestLoggers[Collector], factory: Factory) -> None:
    """Each gets every request, the same configuration twice counts once."""
    loggers.update({"m": (ONE, TWO, ONE)})
    log(loggers, "m", "request")

    assert [one.collected for one in factory.made] == [["request"], ["request"]]


def test_a_bad_configuration_changes_nothing(loggers: RequestLoggers[Collector], factory: Factory) -> None:
    """All old loggers stay; those made on the way are closed again."""
    loggers.update({"m": (ONE,)})

    with pytest.raises(OSError, match="no such collector"):
        loggers.update({"m": (ONE,), "n": (TWO, BAD)})
    log(loggers, "m", "request")

    assert loggers.of("n") == ()
    assert [(one.config, one.closed) for one in factory.made] == [(ONE, 0), (TWO, 1)]
    assert loggers.all == (factory.made[0],)
    assert factory.made[0].collected == ["request"]
