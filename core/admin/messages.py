"""Encodes and decodes the messages of the Admin service, for both ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from core.admin.model_changes import KnownModels
from core.config.extensions import OPEN
from core.config.model_config import ModelConfig
from core.config.models_text import models_from_message, to_message
from core.errors import InvalidArgument
from core.profiling.profile_request import ProfileRequest
from core.protos import admin_pb2, model_config_pb2
from core.routing.table import RoutingTable

SERVICE = "ray_model_server.Admin"


@dataclass(frozen=True, slots=True)
class ConfigInForce:
    """The answer to GetConfig: lists and aspired versions, and the fingerprint that a change must contain."""

    known: KnownModels
    fingerprint: str
    is_requested: bool


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """The request of ChangeConfig."""

    config: model_config_pb2.ModelServerConfig
    expected_fingerprint: str
    is_forced: bool = False


def config_answer(
    models: Iterable[ModelConfig],
    files: Iterable[ModelConfig],
    fingerprint: str,
    wanted: Mapping[str, Iterable[int]],
    *,
    is_requested: bool,
) -> bytes:
    """Serialize the answer to GetConfig."""
    return admin_pb2.GetConfigResponse(
        config=to_message(models),
        fingerprint=fingerprint,
        file_config=to_message(files),
        is_requested=is_requested,
        wanted={name: admin_pb2.Versions(version=sorted(versions)) for name, versions in wanted.items()},
    ).SerializeToString()


def read_config_answer(raw: bytes) -> ConfigInForce:
    """Read the answer to GetConfig."""
    answer = admin_pb2.GetConfigResponse.FromString(raw)
    known = KnownModels(
        models_from_message(answer.config, known=OPEN),
        models_from_message(answer.file_config, known=OPEN),
        {name: frozenset(versions.version) for name, versions in answer.wanted.items()},
    )
    return ConfigInForce(known, answer.fingerprint, answer.is_requested)


def change_request(models: Iterable[ModelConfig], expected_fingerprint: str, *, is_forced: bool = False) -> bytes:
    """Serialize a ChangeConfigRequest; a forced one aborts the rollouts that it touches."""
    return admin_pb2.ChangeConfigRequest(
        config=to_message(models), expected_fingerprint=expected_fingerprint, force=is_forced
    ).SerializeToString()


def read_change_request(raw: bytes) -> ConfigChange:
    """Read a ChangeConfigRequest; raises InvalidArgument for one without a fingerprint or a list of models."""
    try:
        request = admin_pb2.ChangeConfigRequest.FromString(raw)
    except DecodeError:
        raise InvalidArgument("The request is not a valid ChangeConfigRequest message.") from None
    if not request.expected_fingerprint:
        raise InvalidArgument("expected_fingerprint is missing; GetConfig returns it.")
    if not request.config.HasField("model_config_list"):
        raise InvalidArgument("config.model_config_list is missing; without models, it is there and empty.")
    return ConfigChange(request.config, request.expected_fingerprint, request.force)


def change_answer(fingerprint: str, generation: int) -> bytes:
    """Serialize the answer to ChangeConfig."""
    return admin_pb2.ChangeConfigResponse(fingerprint=fingerprint, generation=generation).SerializeToString()


def read_change_answer(raw: bytes) -> int:
    """Read the generation from which a change is in force."""
    return admin_pb2.ChangeConfigResponse.FromString(raw).generation


def status_document_answer(document: bytes) -> bytes:
    """Serialize the answer to GetStatus."""
    return admin_pb2.GetStatusResponse(document=document.decode()).SerializeToString()


def read_status_answer(raw: bytes) -> str:
    """Read the document of GetStatus."""
    return admin_pb2.GetStatusResponse.FromString(raw).document


def profile_request(request: ProfileRequest) -> bytes:
    """Serialize a ProfileRequest."""
    return admin_pb2.ProfileRequest(
        model=request.model, version=request.version, label=request.label, seconds=request.seconds
    ).SerializeToString()


def read_profile_request(raw: bytes) -> ProfileRequest:
    """Read a ProfileRequest; raises InvalidArgument for one that is not valid."""
    try:
        asked = admin_pb2.ProfileRequest.FromString(raw)
    except DecodeError:
        raise InvalidArgument("The request is not a valid ProfileRequest message.") from None
    version = asked.version if asked.HasField("version") else None
    label = asked.label if asked.HasField("label") else None
    return ProfileRequest(asked.model, asked.seconds, version, label).checked()


def profile_answer(trace: bytes, version: int) -> bytes:
    """Serialize the answer to Profile."""
    return admin_pb2.ProfileResponse(trace=trace, version=version).SerializeToString()


def read_profile_answer(raw: bytes) -> tuple[bytes, int]:
    """Read the answer to Profile: the trace, and the version that was recorded."""
    answer = admin_pb2.ProfileResponse.FromString(raw)
    return answer.trace, answer.version


def wanted_versions(table: RoutingTable) -> Mapping[str, frozenset[int]]:
    """Return the aspired versions of each configured model."""
    return {
        name: frozenset(version for version, history in model.histories.items() if history.aspired)
        for name, model in table.models.items()
        if model.configured
    }
