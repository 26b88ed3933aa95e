"""gRPC over HTTP/2, by the parts of its description: heads, metadata, messages, and what is not gRPC."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from core.errors import Code
from tests.support.doors.grpc_calls import BODY, REFLECT
from tests.support.doors.grpc_sites import GrpcSite, grpc_sites
from tests.support.doors.http2_probes import (
    GOOD,
    GRPC,
    MALFORMED,
    NOTHING,
    POST,
    UNKNOWN,
    WATCHED,
    Answers,
    Bystander,
    HttpAnswers,
    Probe,
    Reaction,
    block,
    called,
    data,
    headers,
    message,
    only_head,
    opened,
    trailers,
)

TYPE, TIMEOUT, ENCODING = b"content-type", b"grpc-timeout", b"grpc-encoding"
INTERNAL = Answers(Code.INTERNAL)
ACCEPTED = ("grpc-accept-encoding", "identity,deflate,gzip")
NOT_ENCODED = Answers(Code.UNIMPLEMENTED, (ACCEPTED,))
REFLECTED = tuple((name, REFLECT.encode() if name == b":path" else value) for name, value in POST)


def packed(bits: int, body: bytes = BODY) -> bytes:
    """Return a compressed message."""
    packer = zlib.compressobj(wbits=bits)
    return message(packer.compress(body) + packer.flush(), flag=1)


GZIPPED, DEFLATED = packed(16 + zlib.MAX_WBITS), packed(zlib.MAX_WBITS)


def of_type(value: bytes | None) -> bytes:
    """Return a call with a content-type."""
    given = () if value is None else ((TYPE, value),)
    return headers(1, block(*POST, *given, (b"te", b"trailers"))) + data(1, message(), "END_STREAM")


def by_method(method: bytes) -> bytes:
    return only_head((b":method", method), *POST[1:], *GRPC)


def body(content: bytes, *more: tuple[bytes, bytes], pseudo: tuple[tuple[bytes, bytes], ...] = POST) -> bytes:
    """Return a call with a body of these bytes."""
    return opened(*more, pseudo=pseudo) + data(1, content, "END_STREAM")


TYPES: dict[bytes | None, Reaction] = {
    b"application/grpc": GOOD,
    b"application/grpc+proto": GOOD,
    b"application/grpc;charset=utf-8": GOOD,
    b"Application/GRPC": GOOD,
    b"application/grpc-web": HttpAnswers(415),
    b"application/grpc-web+proto": HttpAnswers(415),
    b"application/grpcx": HttpAnswers(415),
    b"application/json": HttpAnswers(415),
    b"text/plain, application/grpc": HttpAnswers(415),
    b"": HttpAnswers(415),
    None: HttpAnswers(415),
}
TIMEOUTS = {
    **dict.fromkeys([b"9H", b"9M", b"99S", b"99999m", b"99999999u", b"99999999H"], GOOD),
    **dict.fromkeys([b"0n", b"1n", b"00000000S"], Answers(Code.DEADLINE_EXCEEDED)),
    **dict.fromkeys(
        [b"", b"1", b"S", b"1s", b"1h", b"-1S", b"+1S", b"1.5S", b"1e3S", b"123456789S", b"1SS", b"1 S", b"\xd9\xa1S"],
        INTERNAL,
    ),
    **dict.fromkeys([b" 1S", b"1S "], MALFORMED),
}
BINARY = {
    **dict.fromkeys([b"", b"AP8", b"AP8=", b"AA", b"AA==", b"+/+/", b"AAAA,AA==", b"AAAA, AA", b"AAAA,"], GOOD),
    **dict.fromkeys([b"A", b"AAAAA", b"AA=", b"AAA==", b"=", b"A!A=", b"-_-_", b"A A=", b"\xff\xff", b"AAAA=AAA"], INTERNAL),
}  # fmt: skip

PROBES = [
    *(Probe("content-type", str(one), of_type(one), reaction) for one, reaction in TYPES.items()),
    *(Probe("timeout", str(one), called((TIMEOUT, one)), reaction) for one, reaction in TIMEOUTS.items()),
    *(Probe("metadata", f"binary {one!r}", called((b"x-bin", one)), reaction) for one, reaction in BINARY.items()),
    Probe("metadata", "binary, later", called((b"x-bin", b"AA"), (b"x-bin", b"!")), INTERNAL),
    Probe("metadata", "bytes beyond ASCII", called((b"x", b"\x80\xff")), GOOD),
    Probe("metadata", "the same name twice", called((b"x", b"1"), (b"x", b"2")), GOOD),
    Probe("metadata", "trailers of a request", opened() + data(1, message()) + trailers((b"x-bin", b"!")), GOOD),
    *(Probe("method", one.decode(), by_method(one), HttpAnswers(405)) for one in (b"GET", b"HEAD", b"PUT", b"post")),
    Probe("method", "a body behind GET", headers(1, block((b":method", b"GET"), *POST[1:])) + data(1, b"x", "END_STREAM"), HttpAnswers(405)),
    Probe("method", "a client that waits for 100", headers(1, block(*POST, (b"expect", b"100-continue"))), HttpAnswers(415)),
    Probe("path", "an unknown method", called(pseudo=UNKNOWN), Answers(Code.UNIMPLEMENTED)),
    Probe("te", "none", headers(1, block(*POST, GRPC[0])) + data(1, message(), "END_STREAM"), GOOD),
    *(Probe("encoding", f"{one.decode()}, not used", called((ENCODING, one)), GOOD) for one in (b"identity", b"gzip", b"deflate")),
    *(Probe("encoding", f"{one!r} is not known", called((ENCODING, one)), NOT_ENCODED) for one in (b"snappy", b"br", b"", b"GZIP")),
    Probe("encoding", "gzip", body(GZIPPED, (ENCODING, b"gzip")), GOOD),
    Probe("encoding", "deflate", body(DEFLATED, (ENCODING, b"deflate")), GOOD),
    Probe("encoding", "gzip called deflate", body(GZIPPED, (ENCODING, b"deflate")), INTERNAL),
    Probe("encoding", "garbage called gzip", body(message(flag=1), (ENCODING, b"gzip")), INTERNAL),
    Probe("message", "compressed, and no encoding", body(message(flag=1)), INTERNAL),
    Probe("message", "compressed, and the encoding is identity", body(message(flag=1), (ENCODING, b"identity")), INTERNAL),
    *(Probe("message", f"the first byte {one}", body(message(flag=one)), INTERNAL) for one in (2, 128, 255)),
    *(Probe("message", f"the first byte {one}, with gzip", body(message(flag=one), (ENCODING, b"gzip")), INTERNAL) for one in (2, 255)),
    Probe("message", "the first byte 2, in a stream of messages", body(message(b"", 2), pseudo=REFLECTED), INTERNAL),
    Probe("message", "the first byte 2, to a method with many answers", body(message(b"", 2), pseudo=WATCHED), INTERNAL),
    Probe("message", "none", body(b""), INTERNAL),
    Probe("message", "none, not even a body", headers(1, block(*POST, *GRPC), "END_STREAM"), INTERNAL),
    Probe("message", "cut within its prefix", body(message()[:4]), INTERNAL),
    Probe("message", "cut", body(message()[:-1]), INTERNAL),
    Probe("message", "two", body(2 * message()), INTERNAL),
    Probe("message", "in frames of a byte", opened() + b"".join(data(1, bytes([one])) for one in message()) + data(1, b"", "END_STREAM"), GOOD),
    Probe("message", "cut, and reset", opened() + data(1, message()[:-1]) + b"\0\0\4\3\0\0\0\0\1\0\0\0\x08", NOTHING),
]  # fmt: skip


@pytest.fixture(scope="module", params=["short", "handled"])
def probed_site(request: pytest.FixtureRequest) -> Iterator[GrpcSite]:
    """One port for all probes; with calls that are sent at once, and with calls that have a task."""
    with grpc_sites() as make:
        yield make(request.param)


@pytest.mark.parametrize("probe", PROBES, ids=lambda one: one.id)
def test_calls_are_read_as_grpc_describes(probed_site: GrpcSite, bystander: Bystander, probe: Probe) -> None:
    """Both ways of a call answer the same; another client's connection is never concerned."""
    probe.run(probed_site)

    assert bystander.ask() == "0"
