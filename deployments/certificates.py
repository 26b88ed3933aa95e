"""Certificates of the gRPC port, read from an SSLConfig file and again whenever that file changes."""

from __future__ import annotations

import logging
import os

import grpc

from core.config import SslConfig
from core.errors import ConfigError
from core.parameter_files import ssl_config
from deployments.model_list import read_text

log = logging.getLogger(__name__)


class Certificates:
    """Key and certificate of the server, and the authorities whose clients it trusts."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._changed_s = _changed_s(file)
        self._config = ssl_config(read_text(file), file)

    def credentials(self) -> grpc.ServerCredentials:
        """Give credentials that follow the file: new connections get the new certificate."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._config), self._fetch, require_client_authentication=self._config.client_verify
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Give the certificate anew if the file has changed; a file that cannot be used changes nothing."""
        changed_s = _changed_s(self._file)
        if changed_s == self._changed_s:
            return None
        self._changed_s = changed_s
        try:
            self._config = ssl_config(read_text(self._file), self._file)
        except ConfigError as error:
            log.warning("certificate_not_reloaded file=%s error=%s", self._file, error)
            return None
        return _configuration(self._config)


def _changed_s(file: str) -> float:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return 0.0


def _configuration(config: SslConfig) -> grpc.ServerCertificateConfiguration:
    pair = (config.server_key.encode(), config.server_cert.encode())
    return grpc.ssl_server_certificate_configuration([pair], config.custom_ca.encode() or None)
