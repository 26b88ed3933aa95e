"""Encodes and decodes ChangeRollout of the Admin service, for both ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from core.delivery.split import WHOLE, MirrorSettings
from core.errors import InvalidArgument
from core.protos import admin_pb2

VERBS = frozenset({"start", "pause", "resume", "promote", "abort", "undo", "retry", "traffic", "mirror"})
"""What can be ordered; an empty verb only reads."""


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """An order to the rollout of one model, as it is sent.

    `version` is that of `start` and `retry`, 0 for the one that waits. `traffic` has versions or labels with their
    shares in basis points, the stable one first; none ends the shares that were ordered. `mirror` of None, or a share
    of 0, ends copies. `expected_generation` is that of the record which the order was made for, None for any.
    """

    model: str
    verb: str = ""
    version: int = 0
    full: bool = False
    traffic: tuple[tuple[str, int], ...] = ()
    mirror: MirrorSettings | None = None
    expected_generation: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class RolloutAnswer:
    """The record of a model after an order: its generation, itself as JSON, and what was done in a sentence."""

    generation: int
    record: str
    text: str = ""

    @property
    def record_members(self) -> Mapping[str, object]:
        """The members of the record; none where it is not a JSON object."""
        try:
            members = json.loads(self.record or "{}")
        except ValueError:
            return {}
        return members if isinstance(members, dict) else {}


def rollout_request(request: RolloutRequest) -> bytes:
    """Serialize a ChangeRolloutRequest."""
    mirror = request.mirror
    return admin_pb2.ChangeRolloutRequest(
        model=request.model,
        verb=request.verb,
        version=request.version,
        full=request.full,
        traffic=[admin_pb2.TrafficShare(version=version, share=share) for version, share in request.traffic],
        mirror=None
        if mirror is None
        else admin_pb2.MirrorTo(version=mirror.version, share=mirror.share, max_in_flight=mirror.max_in_flight),
        expected_generation=request.expected_generation,
        force=request.force,
    ).SerializeToString()


def read_rollout_request(raw: bytes) -> RolloutRequest:
    """Read a ChangeRolloutRequest; raises InvalidArgument for one that is not valid."""
    try:
        asked = admin_pb2.ChangeRolloutRequest.FromString(raw)
    except DecodeError:
        raise InvalidArgument("The request is not a valid ChangeRolloutRequest message.") from None
    if not asked.model:
        raise InvalidArgument("model is missing.")
    if asked.verb and asked.verb not in VERBS:
        raise InvalidArgument(f"There is no order {asked.verb!r}; there are {', '.join(sorted(VERBS))}.")
    if asked.version < 0:
        raise InvalidArgument(f"version is {asked.version}; it cannot be negative.")
    return RolloutRequest(
        model=asked.model,
        verb=asked.verb,
        version=asked.version,
        full=asked.full,
        traffic=tuple((one.version, one.share) for one in asked.traffic),
        mirror=_mirror(asked.mirror) if asked.HasField("mirror") else None,
        expected_generation=asked.expected_generation if asked.HasField("expected_generation") else None,
        force=asked.force,
    )


def _mirror(asked: admin_pb2.MirrorTo) -> MirrorSettings:
    if not 0 <= asked.share <= WHOLE:
        raise InvalidArgument(f"The share of a mirror is {asked.share}; it is from 0 to {WHOLE} basis points.")
    if asked.max_in_flight < 0:
        raise InvalidArgument(f"max_in_flight is {asked.max_in_flight}; it cannot be negative.")
    default = MirrorSettings(asked.version, asked.share)
    return MirrorSettings(asked.version, asked.share, asked.max_in_flight or default.max_in_flight)


def rollout_answer(answer: RolloutAnswer) -> bytes:
    """Serialize the answer to ChangeRollout."""
    return admin_pb2.ChangeRolloutResponse(
        generation=answer.generation, record=answer.record, text=answer.text
    ).SerializeToString()


def read_rollout_answer(raw: bytes) -> RolloutAnswer:
    """Read the answer to ChangeRollout."""
    answer = admin_pb2.ChangeRolloutResponse.FromString(raw)
    return RolloutAnswer(answer.generation, answer.record, answer.text)
