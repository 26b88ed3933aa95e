"""HTTP/1.1 by the sections of RFC 9110 and 9112: what our REST port does with each kind of bytes, on a real socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.rest.connection_limits import ConnectionLimits
from tests.support.clients import wait_until
from tests.support.doors.raw_http import request
from tests.support.doors.rest_sites import HttpProbe, RestSite, rest_site

PREDICT = "/v1/models/m:predict"
BODY = b'{"instances": [1.0]}'
GOOD = request("POST", PREDICT, BODY)
LARGEST_HEAD = 32 * 1024
STATUS = b"GET /v1/models/m HTTP/1.1"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def got(*fields: bytes, line: bytes = STATUS, host: bytes = b"Host: x") -> bytes:
    """Return a request without a body."""
    return b"\r\n".join([line, *filter(None, [host]), *fields, b"", b""])


def posted(*fields: bytes, body: bytes = BODY, line: bytes = f"POST {PREDICT} HTTP/1.1".encode()) -> bytes:
    """Return a request with a body and just these fields."""
    return got(*fields, line=line) + body


def coded(*codings: bytes) -> bytes:
    """Return a request in chunks with these transfer codings, one a line."""
    return posted(*(b"Transfer-Encoding: " + coding for coding in codings), body=CHUNKS)


def in_chunks(body: bytes) -> bytes:
    """Return a request in chunks, as written."""
    return posted(b"Transfer-Encoding: chunked", body=body)


def with_lf(content: bytes) -> bytes:
    """Return a head whose lines end in LF."""
    return content.replace(b"\r\n", b"\n")


LENGTH = b"Content-Length: %d" % len(BODY)
LINES = [
    HttpProbe("9112 2.2", "an empty line before a request", b"\r\n" + GOOD, (200,)),
    HttpProbe("9112 2.2", "lines that end in LF", with_lf(got()), (200,)),
    HttpProbe("9112 2.2", "lines that end in LF before a body", with_lf(got(LENGTH, line=STATUS)) + BODY, (200,)),
    HttpProbe(
        "9112 2.2", "LF before chunks", with_lf(posted(b"Transfer-Encoding: chunked", body=b"")) + CHUNKS, (200,)
    ),
    HttpProbe("9112 2.2", "two requests with LF", with_lf(got()) * 2, (200, 200)),
    HttpProbe("9112 2.2", "LF after a request with CRLF", GOOD + with_lf(got()) + GOOD, (200, 200, 200)),
    HttpProbe("9112 2.2", "CRLF and LF", STATUS + b"\r\nHost: x\nA: b\r\n\r\n", (400,)),
    HttpProbe("9112 2.2", "LF and CRLF", STATUS + b"\nHost: x\r\nA: b\n\n", (400,)),
    HttpProbe("9112 2.2", "only the last line CRLF", STATUS + b"\nHost: x\n\r\n", (400,)),
    HttpProbe("9112 2.2", "bare CR between fields", STATUS + b"\r\nHost: x\rA: b\r\n\r\n", (400,)),
    HttpProbe("9112 2.2", "bare CR in a head with LF", STATUS + b"\nHost: x\ry\n\n", (400,)),
    HttpProbe("9112 2.2", "a blank before the first field", got(host=b" Host: x"), (400,)),
    HttpProbe("9112 2.3", "HTTP/1.2 is taken for 1.1", got(line=b"GET /v1/models/m HTTP/1.2"), (200,)),
    HttpProbe("9112 2.3", "HTTP/2.0", got(line=b"GET /v1/models/m HTTP/2.0"), (505,)),
    HttpProbe("9112 2.3", "HTTP/3.1", got(line=b"GET /v1/models/m HTTP/3.1"), (505,)),
    HttpProbe("9112 2.3", "name in lower case", got(line=b"GET /v1/models/m http/1.1"), (400,)),
    HttpProbe("9112 2.3", "no number", got(line=b"GET /v1/models/m HTTP/x.y"), (400,)),
    HttpProbe("9112 3", "no version", b"GET /v1/models/m\r\n\r\n", (400,)),
    HttpProbe("9112 3", "blank in the target", got(line=b"GET /v1/a b HTTP/1.1"), (400,)),
    HttpProbe("9112 3", "blank before the method", got(line=b" " + STATUS), (400,)),
    HttpProbe("9112 3", "blank at the end", got(line=STATUS + b" "), (400,)),
    HttpProbe("9112 3", "target too long", b"GET /" + b"a" * LARGEST_HEAD, (414,)),
    HttpProbe("9112 3.2", "no host", got(host=b""), (400,)),
    HttpProbe("9112 3.2", "no host in a request with a body", GOOD.replace(b"Host: x\r\n", b""), (400,)),
    HttpProbe("9112 3.2", "two hosts", got(b"Host: x"), (400,)),
    HttpProbe("9112 3.2", "two hosts, one request with a body", posted(b"host: y", LENGTH), (400,)),
    HttpProbe("9112 3.2", "blank in the host", got(host=b"Host: a b"), (400,)),
    HttpProbe("9112 3.2", "path in the host of a request with a body", GOOD.replace(b": x", b": x/y"), (400,)),
    HttpProbe("9112 3.2", "empty host", got(host=b"Host:"), (200,)),
    HttpProbe("9112 3.2", "host of IPv6 with a port", got(host=b"Host: [::1]:8501"), (200,)),
    HttpProbe("9112 3.2.2", "absolute-form", got(line=b"GET http://y:80/v1/models/m HTTP/1.1"), (200,)),
    HttpProbe("9112 3.2.2", "absolute-form without a path", got(line=b"GET http://y HTTP/1.1"), (404,)),
    HttpProbe("9112 3.2.4", "asterisk-form", got(line=b"OPTIONS * HTTP/1.1"), (404,)),
    HttpProbe("9112 3.2.4", "asterisk-form of another method", got(line=b"GET * HTTP/1.1"), (400,)),
    HttpProbe("9110 9.1", "unknown method", got(line=b"FOO /v1/models/m HTTP/1.1"), (501,)),
    HttpProbe("9110 9.1", "method in lower case", got(line=b"get /v1/models/m HTTP/1.1"), (501,)),
    HttpProbe("9110 9.1", "method that is not a token", got(line=b"G(T /v1/models/m HTTP/1.1"), (400,)),
    HttpProbe("9110 9.3.2", "HEAD", got(line=b"HEAD /v1/models/m HTTP/1.1") + got(), (400, 200), "HEAD"),
]
FIELDS = [
    HttpProbe("9112 5.1", "blank before the colon", got(b"A : b"), (400,)),
    HttpProbe("9112 5.1", "no colon", got(b"A"), (400,)),
    HttpProbe("9112 5.1", "no name", got(b": b"), (400,)),
    HttpProbe("9112 5.2", "line folding", got(b"A: b", b" c"), (400,)),
    HttpProbe("9112 5.2", "line folding with LF", with_lf(got(b"A: b", b" c")), (400,)),
    HttpProbe("9110 5.5", "NUL", got(b"A: b\0c"), (400,)),
    HttpProbe("9110 5.4", "too many fields", got(*[b"a:"] * 3000), (431,)),
    HttpProbe("9110 5.4", "fields too long", got(b"A: " + b"b" * LARGEST_HEAD)[:-4], (431,)),
    HttpProbe("9110 10.1.1", "another expectation", posted(LENGTH, b"Expect: tea"), (417,)),
    HttpProbe("9110 10.1.1", "two expectations", posted(LENGTH, b"Expect: 100-continue, tea"), (417,)),
    HttpProbe("9110 10.1.1", "an expectation", posted(LENGTH, b"Expect: 100-Continue"), (100, 200)),
    HttpProbe(
        "9110 10.1.1",
        "an expectation of HTTP/1.0 is ignored",
        posted(LENGTH, b"Expect: 100-continue", line=f"POST {PREDICT} HTTP/1.0".encode()),
        (200,),
    ),
    HttpProbe("9110 7.8", "an offer of another protocol", got(b"Connection: upgrade", b"Upgrade: h2c") * 2, (200, 200)),
]
BODIES = [
    HttpProbe("9112 6.1", "chunked", coded(b"chunked") * 2, (200, 200)),
    HttpProbe("9112 6.1", "chunked in upper case", coded(b"CHUNKED"), (200,)),
    HttpProbe("9112 6.1", "gzip, chunked", coded(b"gzip, chunked"), (501,)),
    HttpProbe("9112 6.1", "gzip and chunked in two lines", coded(b"gzip", b"chunked"), (501,)),
    HttpProbe("9112 6.1", "unknown, chunked", coded(b"x-new;q=1, chunked"), (501,)),
    HttpProbe("9112 6.3", "gzip alone", coded(b"gzip"), (400,)),
    HttpProbe("9112 6.3", "identity", coded(b"identity"), (400,)),
    HttpProbe("9112 6.3", "chunked, gzip", coded(b"chunked, gzip"), (400,)),
    HttpProbe("9112 6.1", "chunked twice", coded(b"chunked, chunked"), (400,)),
    HttpProbe("9112 6.1", "chunked in two lines", coded(b"chunked", b"chunked"), (400,)),
    HttpProbe("9112 6.1", "empty coding", coded(b", chunked"), (400,)),
    HttpProbe("9112 6.1", "almost chunked", coded(b"xchunked"), (400,)),
    HttpProbe("9112 6.1", "no coding", coded(b""), (400,)),
    HttpProbe("9112 6.1", "chunked and a length", posted(b"Transfer-Encoding: chunked", LENGTH, body=CHUNKS), (400,)),
    HttpProbe("9112 6.1", "a length and chunked", posted(LENGTH, b"Transfer-Encoding: chunked", body=CHUNKS), (400,)),
    HttpProbe("9112 6.1", "chunked in HTTP/1.0", coded(b"chunked").replace(b"HTTP/1.1", b"HTTP/1.0"), (400,)),
    *(
        HttpProbe("9112 6.3", f"length {value!r}", posted(b"Content-Length: " + value), (400,))
        for value in (b"20, 20", b"+20", b"-20", b"0x14", b"20 20", b"", b"20;", b"18446744073709551636", b"2_0")
    ),
    HttpProbe("9112 6.3", "two lengths", posted(LENGTH, LENGTH), (400,)),
    *(
        HttpProbe("9112 7.1", f"chunk size {size!r}", in_chunks(size + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), (400,))
        for size in (b"0x14", b"+14", b"-14", b"", b"14 ", b" 14", b"g", b"10000000000000014")
    ),
    HttpProbe("9112 7.1", "LF after a chunk size", in_chunks(b"1\n{\r\n0\r\n\r\n"), (400,)),
    HttpProbe("9112 7.1", "LF after a chunk", in_chunks(b"1\r\n{\n0\r\n\r\n"), (400,)),
    HttpProbe("9112 7.1", "a chunk longer than its size", in_chunks(b"1\r\n{}\r\n0\r\n\r\n"), (400,)),
    HttpProbe("9112 7.1.1", "chunk extension", in_chunks(b"2;a=b\r\n{}\r\n0;c\r\n\r\n"), (200,)),
    HttpProbe("9112 7.1.1", "chunk extension too long", in_chunks(b"2;" + b"a" * LARGEST_HEAD), (431,)),
    HttpProbe("9112 7.1.1", "LF in a chunk extension", in_chunks(b"2;a\nb\r\n{}\r\n0\r\n\r\n"), (400,)),
    HttpProbe("9112 7.1.2", "trailer", in_chunks(b"2\r\n{}\r\n0\r\nA: b\r\n\r\n"), (200,)),
    HttpProbe("9112 7.1.2", "length in a trailer", in_chunks(b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n"), (400,)),
    HttpProbe("9112 7.1.2", "too many trailers", in_chunks(b"2\r\n{}\r\n0\r\n" + b"a:\r\n" * 3000), (431,)),
]
PIPELINES = [
    HttpProbe("9112 9.3.2", "no host behind a request", GOOD + got(host=b""), (200, 400)),
    HttpProbe("9112 9.3.2", "a coding behind two requests", GOOD * 2 + coded(b"gzip, chunked"), (200, 200, 501)),
    HttpProbe("9112 9.3.2", "mixed ends of lines behind LF", with_lf(got()) + STATUS + b"\nHost: x\r\n\n", (200, 400)),
    HttpProbe("9112 9.3.2", "nothing behind a refused head", GOOD + got(b"Host: y") + GOOD, (200, 400)),
]
PROBES = [*LINES, *FIELDS, *BODIES, *PIPELINES]


@pytest.fixture(scope="module")
def site() -> Iterator[RestSite]:
    """A port that takes heads of 32 KiB."""
    with rest_site(limits=ConnectionLimits(head=LARGEST_HEAD)) as opened:
        yield opened


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_bytes_are_answered_as_the_section_says(site: RestSite, probe: HttpProbe) -> None:
    """In one piece; then the connection ends, or takes a further request. Others are served meanwhile."""
    with site.connect() as connection:
        connection.send(probe.content)
        statuses = [connection.reply(probe.method).status]
        statuses += [connection.reply().status for _ in probe.statuses[1:]]
        is_open = not probe.ends and statuses[-1] != 404
        after = connection.ask(GOOD).status if is_open else int(connection.is_closed())

    assert tuple(statuses) == probe.statuses
    assert after == (200 if is_open else 1)


@pytest.mark.parametrize("probe", [probe for probe in PROBES if len(probe.content) < 1000], ids=str)
def test_pieces_change_no_answer(site: RestSite, probe: HttpProbe) -> None:
    """However a network cuts the bytes; a method that is not known is judged by its first bytes alone."""
    if probe.statuses == (501,) and probe.section == "9110 9.1":
        probe = HttpProbe(probe.section, probe.what, probe.content, (400,))
    with site.connect() as connection:
        for at in range(len(probe.content)):
            try:
                connection.send(probe.content[at : at + 1])
            except (BrokenPipeError, ConnectionResetError):
                break
        statuses = [connection.reply(probe.method).status]
        statuses += [connection.reply().status for _ in probe.statuses[1:]]

    assert tuple(statuses) == probe.statuses


@pytest.mark.parametrize("cut", [1, 2])
def test_the_rest_of_a_method_is_not_an_unknown_method(site: RestSite, cut: int) -> None:
    """A head that is refused for another reason gets 400 also when the network cuts its first word."""
    content = posted(LENGTH, LENGTH)
    with site.connect() as connection:
        connection.send(content[:cut])
        wait_until(lambda: [one._fed for one in site.connections] == [cut], "the first bytes are parsed")

        assert connection.ask(content[cut:]).status == 400


def test_a_trailer_is_not_a_part_of_the_head(site: RestSite) -> None:
    """It comes after the head was acted on (RFC 9110 6.5.1): the body is not unpacked because a trailer says so."""
    site.forget()
    with site.connect() as connection:
        body = b"2\r\n{}\r\n0\r\nContent-Encoding: gzip\r\nHost: y\r\n\r\n"

        assert connection.ask(in_chunks(body)).status == 200
    assert site.bodies == [b"{}"]


def test_a_body_keeps_its_line_feeds(site: RestSite) -> None:
    """Only lines of a head are read with LF for CRLF."""
    site.forget()
    body = b'{"instances":\n\n\r\n[1.0]}\n\n'
    head = with_lf(posted(b"Content-Length: %d" % len(body), body=b""))
    with site.connect() as connection:
        connection.send((head + body) * 2)

        assert [connection.reply().status for _ in range(2)] == [200, 200]
    assert site.bodies == [body, body]
