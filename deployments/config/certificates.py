"""Certificates of an encrypted port, read from an SSLConfig file, and read again when that file changes.

gRPC requests the certificate at each handshake. Python's `ssl` does not, so the context that is given to uvicorn
delegates every new connection to a context of the file's present content.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable

import grpc

from core.config.parameter_files import SslConfig, ssl_config
from core.config.server_settings import FrontDoorSettings
from core.errors import ConfigError, Problem
from core.storage.version_listing import is_remote, local_path
from deployments.config.files import read_text
from deployments.config.followed_files import FollowedFiles

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
NO_FILE: Stamp = (0, 0, 0)

FOLLOWED_EVERY_S = 30.0
"""How often a file at a URL is looked at."""


class Certificates:
    """Key and certificate of the server, and the authorities whose clients it trusts."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._followed = FollowedFiles({file: FOLLOWED_EVERY_S} if is_remote(file) else {})
        self._stamp = self._present_stamp()
        self.config, self._context = _checked(self._followed.read(file), file)

    def credentials(self) -> grpc.ServerCredentials:
        """Return gRPC's credentials for one address; new connections get the new certificate."""
        given = self.config

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Return the credentials if they are new to this address, else None."""
            nonlocal given
            self._refresh()
            if given is self.config:
                return None
            given = self.config
            return _configuration(given)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(given), fetch, require_client_authentication=given.client_verify
        )

    def context(self) -> ssl.SSLContext:
        """Return the context for `ssl`; new connections get the new certificate."""
        return _FollowingContext.of(self._present_context)

    def _present_context(self) -> ssl.SSLContext:
        self._refresh()
        return self._context

    def _refresh(self) -> None:
        """Read the file again if it has changed; an invalid one changes nothing.

        gRPC decides at the start whether clients need certificates, so a file that changes this is refused.
        """
        stamp = self._present_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            config, context = _checked(self._followed.read(self._file), self._file)
        except ConfigError as error:
            log.warning("certificate_not_reloaded file=%s error=%s", self._file, error)
            return
        if config.client_verify is not self.config.client_verify:
            log.warning("certificate_not_reloaded file=%s error=a new client_verify needs a new start", self._file)
            return
        self.config, self._context = config, context

    def _present_stamp(self) -> Stamp:
        """Return a value that differs between two states of the file; nothing is waited for."""
        return (self._followed.changes, 0, 0) if is_remote(self._file) else file_stamp(local_path(self._file))


class _FollowingContext(ssl.SSLContext):
    """Serves each connection with the context that is current when it begins."""

    _present: Callable[[], ssl.SSLContext]

    @classmethod
    def of(cls, present: Callable[[], ssl.SSLContext]) -> _FollowingContext:
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._present = present
        return made

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature is that of the class above
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection; asyncio and uvloop call no other method."""
        return self._present().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def file_stamp(file: str) -> Stamp:
    """Return a value that differs between two states of a file, also after a rename or two writes in one tick."""
    try:
        seen = os.stat(file)
    except OSError:
        return NO_FILE
    return seen.st_mtime_ns, seen.st_ino, seen.st_size


def check_certificates(file: str) -> None:
    """Read a file and check that its certificates can be used; raises ConfigError."""
    _checked(read_text(file), file)


def asks_for_certificates(door: FrontDoorSettings) -> bool:
    """Whether a port lets in only clients that show a certificate; raises ConfigError."""
    files = filter(None, (door.ssl_config_file, door.rest_ssl_config_file))
    return any(ssl_config(read_text(one), one).client_verify for one in files)


def _checked(text: str, file: str) -> tuple[SslConfig, ssl.SSLContext]:
    config = ssl_config(text, file)
    try:
        return config, _context(config)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError((Problem(f"the certificates cannot be used: {error}", file=file),)) from error


def _context(config: SslConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, config)
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=config.custom_ca)
    return context


def _load_pair(context: ssl.SSLContext, config: SslConfig) -> None:
    """Load key and certificate from a file in memory, because `ssl` accepts files only."""
    with open(os.memfd_create("certificate"), "wb") as memory:
        memory.write(f"{config.server_cert}\n{config.server_key}\n".encode())
        memory.flush()
        # An empty password, because OpenSSL would prompt at the terminal for that of an encrypted key.
        context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}", password="")


def _configuration(config: SslConfig) -> grpc.ServerCertificateConfiguration:
    pair = (config.server_key.encode(), config.server_cert.encode())
    return grpc.ssl_server_certificate_configuration([pair], config.custom_ca.encode() or None)
