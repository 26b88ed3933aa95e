"""Builds GetModelStatusResponse, which REST prints as JSON and gRPC sends as it is."""

from __future__ import annotations

from collections.abc import Sequence

from core.protos import serving_pb2
from core.versions.lifecycle import VersionStatus


def status_response(entries: Sequence[VersionStatus]) -> bytes:
    """Write a serialized GetModelStatusResponse, newest version first."""
    return status_message(entries).SerializeToString()


def status_message(entries: Sequence[VersionStatus]) -> serving_pb2.GetModelStatusResponse:
    """Return the message, newest version first."""
    response = serving_pb2.GetModelStatusResponse()
    for entry in sorted(entries, key=lambda one: one.version, reverse=True):
        status = serving_pb2.StatusProto(error_code=entry.code.name, error_message=entry.message)
        response.model_version_status.add(version=entry.version, state=entry.state.name, status=status)
    return response
