"""Tests of the gRPC status of each canonical code."""

from __future__ import annotations

import grpc
import pytest

from core.errors import Code
from deployments.grpc.status import status_code


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_a_code_is_the_status_of_the_same_name_and_number(code: Code) -> None:
    """Clients branch on both."""
    status = status_code(code)

    assert (status.name, status.value[0]) == (code.name, int(code))


def test_a_number_that_grpc_does_not_know_is_unknown() -> None:
    """TensorFlow has codes of its own; none of them may break an answer."""
    assert status_code(20) is grpc.StatusCode.UNKNOWN  # type: ignore[arg-type]
