"""The states of a model's versions as GetModelStatusResponse."""

from __future__ import annotations

from core.errors import Code
from core.protos import serving_pb2
from core.versions.lifecycle import State, VersionStatus
from core.versions.status_message import status_message, status_response

OLD = VersionStatus(9, State.END, Code.NOT_FOUND, "no SavedModel there")
NEW = VersionStatus(10, State.AVAILABLE)


def test_the_newest_version_comes_first() -> None:
    """Whatever the order of the table; versions sort as numbers."""
    assert [one.version for one in status_message([OLD, NEW]).model_version_status] == [10, 9]


def test_state_and_error_have_their_names_on_the_wire() -> None:
    """A version without an error has the status OK, which is not left out."""
    new, old = status_message([NEW, OLD]).model_version_status

    assert (new.state, new.status.error_code, new.status.error_message) == (State.AVAILABLE, Code.OK, "")
    assert new.HasField("status")
    assert (old.state, old.status.error_code) == (State.END, Code.NOT_FOUND)
    assert old.status.error_message == "no SavedModel there"


def test_the_response_is_the_message_serialized() -> None:
    """REST reads the message, gRPC sends the bytes."""
    assert serving_pb2.GetModelStatusResponse.FromString(status_response([NEW])) == status_message([NEW])
