"""The commands' client of a running server: calls the Admin service on its gRPC port or socket."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import grpc

from core.admin import messages as admin_messages
from core.admin.change_outcome import ChangeOutcome, Look, unfinished
from core.admin.delivery_messages import RolloutAnswer, RolloutRequest, read_rollout_answer, rollout_request
from core.admin.messages import ConfigInForce
from core.admin.model_changes import Change, Models
from core.errors import Code, RuntimeFailure, Unavailable
from core.profiling.profile_request import ProfileRequest

MOST_ATTEMPTS = 50
"""How often a change is repeated while other clients change the list."""

LOOK_EVERY_S = 0.3
TOLD_AFTER_S = 2.0
"""Shorter waiting needs no words."""

PROFILE_EXTRA_S = 40.0
OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1))
LIKE_NO_SERVER = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
NOT_LET_IN = frozenset({Code.UNAUTHENTICATED, Code.PERMISSION_DENIED})


REST_PORT: Final = "Is it the REST port? The commands use the gRPC port (--port, 8500 by default)."
ENCRYPTED: Final = "It is encrypted: add --tls, and --ca FILE for a certificate that no public authority has signed."
OTHER_AUTHORITY: Final = (
    "Its certificate is not of an authority that is known here: name the authority's with --ca FILE."
)
TLS_ADVICE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": "It is not encrypted, or not a gRPC port: omit --tls, --ca, --cert and --key.",
        "CERTIFICATE_VERIFY_FAILED": OTHER_AUTHORITY,
        "BAD_SIGNATURE": OTHER_AUTHORITY,
        "Hostname Verification": "Its certificate is for another name: use that name after --server.",
        "Socket closed": "It may ask for a certificate of the client: name one with --cert FILE and --key FILE.",
    }
)
"""Parts of gRPC's texts (1.85), and what to do."""


class NoServer(Unavailable):
    """No server answers at the address, or it is not a Ray Model Server."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The list before and after a change, and the generation from which it is in force; 0 when nothing changed."""

    before: Models
    after: Models
    generation: int


class AdminClient:
    """Calls the Admin service of one server."""

    def __init__(
        self,
        target: str,
        credentials: grpc.ChannelCredentials | None = None,
        *,
        token: str = "",
        timeout_s: float = 10.0,
        change_timeout_s: float = 40.0,
    ) -> None:
        self.target = target
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._is_encrypted = credentials is not None
        self._timeout_s = timeout_s
        self._timeouts_s = {"ChangeConfig": change_timeout_s, "ChangeRollout": change_timeout_s}
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options=OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=OPTIONS)

    def status(self) -> dict[str, Any]:
        """Return the status document; raises NoServer."""
        try:
            document: dict[str, Any] = json.loads(admin_messages.read_status_answer(self._call("GetStatus", b"")))
        except RuntimeFailure as error:
            if error.code in NOT_LET_IN:
                raise
            raise self._no_server(error) from None
        return document

    def config(self) -> ConfigInForce:
        """Return the list of models in force; raises NoServer, and RuntimeFailure with the server's code."""
        return admin_messages.read_config_answer(self._asked("GetConfig", b""))

    def change(self, change: Change) -> Changed:
        """Apply a change to the list in force; repeat it if another change came first.

        Raises what the change raises, NoServer, and RuntimeFailure with the server's code.
        """
        for attempt in range(MOST_ATTEMPTS):
            in_force = self.config()
            models = change(in_force.known)
            if models == in_force.known.models:
                return Changed(models, models, 0)
            try:
                raw = self._asked("ChangeConfig", admin_messages.change_request(models, in_force.fingerprint))
            except RuntimeFailure as error:
                if error.code is not Code.ABORTED:
                    raise
                time.sleep(random.uniform(0.0, 0.02 * (attempt + 1)))  # noqa: S311 - spreads those who collide
                continue
            return Changed(in_force.known.models, models, admin_messages.read_change_answer(raw))
        raise RuntimeFailure(Code.ABORTED, f"The list of models changed {MOST_ATTEMPTS} times meanwhile; try again.")

    def outcome(
        self, look: Look, generation: int, name: str, timeout_s: float, tell: Callable[[str], None] = lambda _: None
    ) -> ChangeOutcome:
        """Poll the status until it shows the outcome of a change, or the time is up.

        Whoever waits longer is told what the model waits for, at first and whenever that is something else.
        """
        began_s = time.monotonic()
        ends_at, told = began_s + timeout_s, ""
        while True:
            document = self.status()
            found = look(document) if document["server"]["generation"] >= generation else None
            if found is not None:
                return found
            progress = unfinished(document, name)
            if progress != told and time.monotonic() > began_s + TOLD_AFTER_S:
                tell(progress)
                told = progress
            if time.monotonic() > ends_at:
                return ChangeOutcome(is_good=False, text=f"not done after {timeout_s:g} s: {progress}", is_final=False)
            time.sleep(LOOK_EVERY_S)

    def profile(self, request: ProfileRequest) -> tuple[bytes, int]:
        """Record a replica; returns the trace and the version. Raises NoServer and RuntimeFailure."""
        self._timeouts_s["Profile"] = request.seconds + PROFILE_EXTRA_S
        return admin_messages.read_profile_answer(self._asked("Profile", admin_messages.profile_request(request)))

    def rollout(self, model: str) -> RolloutAnswer:
        """Return the record of a model's rollout; raises NoServer, and RuntimeFailure with the server's code."""
        return self.order(RolloutRequest(model))

    def order(self, request: RolloutRequest) -> RolloutAnswer:
        """Give an order to a rollout; raises NoServer, and RuntimeFailure with the server's code."""
        return read_rollout_answer(self._asked("ChangeRollout", rollout_request(request)))

    def _asked(self, method: str, request: bytes) -> bytes:
        """Call a method; after an error that may mean that no server is there, check it with the status."""
        try:
            return self._call(method, request)
        except RuntimeFailure as error:
            if error.code in LIKE_NO_SERVER or error.code is Code.UNIMPLEMENTED:
                self.status()
            raise

    def _call(self, method: str, request: bytes) -> bytes:
        send = self._channel.unary_unary(f"/{admin_messages.SERVICE}/{method}")
        timeout_s = self._timeouts_s.get(method, self._timeout_s)
        try:
            answer: bytes = send(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            text = f"{method} was not answered within {timeout_s:g} s." if late else str(error.details())
            raise RuntimeFailure(Code(error.code().value[0]), text) from None
        return answer

    def _no_server(self, error: RuntimeFailure) -> NoServer:
        if error.code is Code.UNIMPLEMENTED:
            return NoServer(f"The server at {self.target} is not a Ray Model Server, or is an older version.")
        reason = str(error).rpartition("last error: ")[2]
        what = f"No Ray Model Server answers at {self.target} (tried its gRPC port): {reason}"
        advice = tls_advice(reason) if self._is_encrypted else _plain_advice(reason, self.target)
        return NoServer(f"{what}\n{advice or 'Name another one with --server HOST:PORT or --server unix:PATH.'}")

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def tls_advice(reason: str) -> str:
    """Return what to do about the reason for which an encrypted connection failed; empty when it tells nothing."""
    return next((advice for part, advice in TLS_ADVICE.items() if part in reason), "")


def _plain_advice(reason: str, target: str) -> str:
    """Return what to do about a listener that ended a connection without TLS."""
    if target.startswith("unix:") or not any(part in reason.lower() for part in ("http", "socket closed")):
        return ""
    from deployments.system.port_claim import presented_certificate  # noqa: PLC0415 - only after a failure

    host, _, port = target.rpartition(":")
    if port.isdecimal() and presented_certificate(host.strip("[]"), int(port), "h2"):
        return ENCRYPTED
    return REST_PORT
