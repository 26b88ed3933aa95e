"""Tests of public states."""

from __future__ import annotations

from core.errors import Code
from core.protos import serving_pb2
from core.versions.lifecycle import State, VersionStatus


def test_states_have_the_numbers_of_the_wire() -> None:
    """UNKNOWN is on the wire but never told."""
    wire = dict(serving_pb2.ModelVersionStatus.State.items())

    assert {state.name: state.value for state in State} | {"UNKNOWN": 0} == wire


def test_a_version_is_well_unless_told_otherwise() -> None:
    """Most versions have no error."""
    assert VersionStatus(1, State.START) == VersionStatus(1, State.START, Code.OK, "")
