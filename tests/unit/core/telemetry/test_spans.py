"""What spans are called, and what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.telemetry.spans import LONGEST_VALUE, cleaned, code_error, grpc_attributes, rows_in


def test_a_call_is_named_as_opentelemetry_does() -> None:
    """Service and method apart."""
    assert grpc_attributes("s", "m") == {"rpc.system": "grpc", "rpc.service": "s", "rpc.method": "m"}


@pytest.mark.parametrize(
    ("code", "error"),
    [(Code.OK, ""), (Code.NOT_FOUND, ""), (Code.CANCELLED, ""), (Code.INTERNAL, "INTERNAL"), (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")],
)  # fmt: skip
def test_only_the_servers_own_codes_are_errors_of_its_span(code: Code, error: str) -> None:
    """The codes that OpenTelemetry names."""
    assert code_error(code) == error


@pytest.mark.parametrize(
    ("feeds", "rows"), [({}, 0), ({"a": np.float32(1).reshape(())}, 0), ({"a": np.zeros((3, 2)), "b": np.zeros(9)}, 3)]
)
def test_rows_are_those_of_the_first_input(feeds: dict[str, np.ndarray], rows: int) -> None:
    """Where there are rows at all."""
    assert rows_in(feeds) == rows


@given(st.one_of(st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")), st.text(st.characters())))
def test_any_path_can_be_sent(path: str) -> None:
    """What is no UTF-8 is shown as such, and there is an end to it."""
    value = cleaned({"url.path": path * 300, "n": 3})

    assert len(str(value["url.path"]).encode("utf-8")) <= LONGEST_VALUE * 4
    assert value["n"] == 3
