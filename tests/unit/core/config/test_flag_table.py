"""The table of TensorFlow Serving's flags, joined with ours."""

from __future__ import annotations

import pytest

from core.config.arguments import parse_flags
from core.config.flag import Flag, Treatment
from core.config.flag_table import FLAGS, TENSORFLOW_SERVING_FLAGS
from core.config.own_flags import OUR_FLAGS
from core.config.server_settings import ModelSourceSettings, ServerSettings


def test_the_table_has_all_flags_of_tensorflow_serving() -> None:
    """48 flags, each with a sentence, and none of ours takes one of their names."""
    assert len(TENSORFLOW_SERVING_FLAGS) == 48
    assert len(FLAGS) == 48 + len(OUR_FLAGS)
    assert all(flag.help.endswith(".") for flag in FLAGS.values())


def test_defaults_of_flags_are_those_of_the_settings() -> None:
    """Nothing given means nothing changed."""
    parsed = parse_flags(["--model_base_path=/m"])

    assert parsed.settings == ServerSettings(source=ModelSourceSettings(model_base_path="/m"))


@pytest.mark.parametrize("flag", [flag for flag in FLAGS.values() if flag.treatment is not Treatment.HONOURED])
def test_every_flag_that_is_not_honoured_says_why(flag: Flag) -> None:
    """Refusals and warnings end with a remark."""
    assert flag.remark
    assert not flag.target


def test_no_setting_has_two_flags() -> None:
    """The later one would win without a word."""
    targets = [flag.target for flag in FLAGS.values() if flag.target]

    assert len(set(targets)) == len(targets)
