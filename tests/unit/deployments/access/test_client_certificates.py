"""Client certificates as names of clients, on both ports."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

import grpc
import pytest

from core.protos import serving_pb2
from tests.support.certificates import Authority, write_ssl_config
from tests.support.doors.guarded_sites import PREDICT, GuardedSite, GuardedSites, client_of

BODY = serving_pb2.PredictRequest(model_spec={"name": "m"}).SerializeToString()
CERTIFIED = '  {name}:\n    certificates: ["{certificate}"]\n    allow: [{{groups: [infer]}}]\n'


@pytest.fixture
def authority() -> Authority:
    return Authority()


def over_rest(site: GuardedSite, folder: Path, authority: Authority, **headers: str) -> int:
    key, certificate = authority.issue()
    (folder / "pair.pem").write_text(key + certificate)
    context = ssl.create_default_context(cadata=authority.certificate)
    context.load_cert_chain(folder / "pair.pem")
    connection = http.client.HTTPSConnection("localhost", site.port, context=context, timeout=20)
    connection.request("POST", "/v1/models/m:predict", b"{}", {"Host": "localhost", **headers})
    status = connection.getresponse().status
    connection.close()
    return status


def over_grpc(site: GuardedSite, authority: Authority, *metadata: tuple[str, str]) -> str:
    key, certificate = authority.issue()
    credentials = grpc.ssl_channel_credentials(authority.certificate.encode(), key.encode(), certificate.encode())
    with grpc.secure_channel(f"localhost:{site.grpc_port}", credentials) as channel:
        try:
            channel.unary_unary(PREDICT)(BODY, timeout=20, metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


@pytest.mark.parametrize("certificate", ["CN:localhost", "DNS:localhost"])
def test_a_certificate_is_a_client(sites: GuardedSites, tmp_path: Path, authority: Authority, certificate: str) -> None:
    """By its subject, or by an alternative name."""
    write_ssl_config(tmp_path / "ssl", authority, verify=True)
    site = sites.ruled("clients:\n" + CERTIFIED.format(name="a", certificate=certificate), tls=tmp_path / "ssl")

    assert over_rest(site, tmp_path, authority) == 200
    assert over_grpc(site, authority) == "OK"


def test_another_certificate_is_nobody(sites: GuardedSites, tmp_path: Path, authority: Authority) -> None:
    """That it is trusted says who it is, and not what it may do. A token still counts."""
    write_ssl_config(tmp_path / "ssl", authority, verify=True)
    rules = "clients:\n" + CERTIFIED.format(name="a", certificate="DNS:elsewhere") + client_of("b", "infer")
    site = sites.ruled(rules, tls=tmp_path / "ssl")

    assert over_rest(site, tmp_path, authority) == 401
    assert over_grpc(site, authority) == "UNAUTHENTICATED"
    assert over_rest(site, tmp_path, authority, **{"X-Api-Key": "b-token"}) == 200
    assert over_grpc(site, authority, ("x-api-key", "b-token")) == "OK"
