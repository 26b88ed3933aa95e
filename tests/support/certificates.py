"""Certificates that tests make for themselves, and SSLConfig files that hold them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority of the test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self._name, self._key.public_key(), is_authority=True)

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> str:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, password: bytes = b"") -> tuple[str, str]:
        """Return a new key and its certificate for localhost, as PEM texts."""
        key = ec.generate_private_key(ec.SECP256R1())
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        return pem.decode(), self._sign(name, key.public_key(), is_authority=False)


def write_ssl_config(
    file: Path, authority: Authority, *, verify: bool = False, pair: tuple[str, str] | None = None
) -> None:
    """Write a file with a new certificate, or the given key and certificate; `verify` asks clients for theirs."""
    key, certificate = pair or authority.issue()
    more = f'custom_ca: "{_text(authority.certificate)}" client_verify: true' if verify else ""
    file.write_text(f'server_key: "{_text(key)}" server_cert: "{_text(certificate)}" {more}')


def _text(pem: str) -> str:
    return pem.replace("\n", "\\n")
