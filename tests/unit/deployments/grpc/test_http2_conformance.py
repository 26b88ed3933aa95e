"""HTTP/2 by the sections of RFC 9113: what our gRPC port does with each kind of frame, on a real socket."""

from __future__ import annotations

import pytest

from core.http2.frames import LARGEST_WINDOW, PREFACE, Fault
from tests.support.doors.grpc_sites import GrpcSite
from tests.support.doors.http2_probes import (
    CLOSED,
    ENDS_CALM,
    ENDS_CLOSED,
    ENDS_FLOW,
    ENDS_PROTOCOL,
    ENDS_SIZE,
    GOOD,
    GRPC,
    HALF_CLOSED,
    MALFORMED,
    NOTHING,
    POST,
    UNKNOWN,
    Bystander,
    HttpAnswers,
    Probe,
    Resets,
    begun,
    block,
    called,
    continued,
    data,
    goaway,
    headers,
    message,
    only_head,
    opened,
    ping,
    priority,
    raw,
    reset,
    settings,
    trailers,
    widened,
    window_of_connection,
)

HEAD = block(*POST, *GRPC)
METHOD, SCHEME, PATH, AUTHORITY = POST
WINDOW, FRAME_SIZE, TABLE, PUSH = 4, 5, 1, 2
TOO_LONG = 2**14 + 1


def with_pseudo(*pseudo: tuple[bytes, bytes]) -> bytes:
    """Return a request with these pseudo-header fields."""
    return only_head(*pseudo, *GRPC)


BEGINNING = [
    Probe("3.4", "HTTP/1.1", b"", ENDS_PROTOCOL, opening=b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
    Probe("3.4", "a preface with a mistake", b"", ENDS_PROTOCOL, opening=PREFACE[:-1] + b"x"),
    Probe("3.4", "PING first", b"", ENDS_PROTOCOL, opening=PREFACE + ping()),
    Probe("3.4", "HEADERS first", b"", ENDS_PROTOCOL, opening=PREFACE + called()),
    Probe("3.4", "an acknowledgement first", b"", ENDS_PROTOCOL, opening=PREFACE + raw(4, 1, 0)),
    Probe("3.4", "WINDOW_UPDATE first", b"", ENDS_PROTOCOL, opening=PREFACE + window_of_connection(1)),
    Probe("3.4", "an unknown frame first", b"", ENDS_PROTOCOL, opening=PREFACE + raw(0xEE, 0, 0, b"x")),
    Probe("3.4", "SETTINGS first", called(), GOOD),
]
FRAMES = [
    Probe("4.1", "a frame of an unknown kind", raw(0xEE, 0xFF, 1, b"x") + called(), GOOD),
    Probe("4.1", "flags that mean nothing", raw(6, 0xFE, 0, bytes(8)) + called(), GOOD),
    Probe("4.1", "the reserved bit of a stream", raw(1, 4, 2**31 + 1, HEAD) + raw(0, 1, 2**31 + 1, message()), GOOD),
    Probe("4.2", "a frame of the largest size", opened() + data(1, message(bytes(2**14 - 5)), "END_STREAM"), NOTHING),
    Probe("4.2", "DATA that is too long", opened() + raw(0, 1, 1, bytes(TOO_LONG)), ENDS_SIZE),
    Probe("4.2", "HEADERS that are too long", raw(1, 5, 1, HEAD + bytes(TOO_LONG)), ENDS_SIZE),
    Probe("4.2", "SETTINGS that are too long", raw(4, 0, 0, bytes(TOO_LONG)), ENDS_SIZE),
    Probe("4.3", "another stream within a block", begun(HEAD) + opened(stream=3), ENDS_PROTOCOL),
    Probe("4.3", "an unknown frame within a block", begun(HEAD) + raw(0xEE, 0, 1), ENDS_PROTOCOL),
]
STREAMS = [
    Probe("5.1", "DATA on an idle stream", data(1, b"x"), ENDS_PROTOCOL),
    Probe("5.1", "RST_STREAM on an idle stream", reset(1), ENDS_PROTOCOL),
    Probe("5.1", "WINDOW_UPDATE on an idle stream", widened(1, 1), ENDS_PROTOCOL),
    Probe("5.1", "CONTINUATION on an idle stream", continued(HEAD, "END_HEADERS"), ENDS_PROTOCOL),
    Probe("5.1", "PRIORITY on an idle stream", priority(1) + called(stream=3) + called(), ENDS_PROTOCOL),
    Probe("5.1", "PRIORITY on an idle stream, then a call", priority(1) + called(), GOOD),
    Probe("5.1", "DATA on a half-closed stream", HALF_CLOSED + data(1, b"x"), CLOSED),
    Probe("5.1", "HEADERS on a half-closed stream", HALF_CLOSED + trailers((b"a", b"b")), CLOSED),
    Probe("5.1", "a second request on a half-closed stream", HALF_CLOSED + opened(), CLOSED),
    Probe("5.1", "CONTINUATION on a half-closed stream", HALF_CLOSED + continued(HEAD, "END_HEADERS"), ENDS_PROTOCOL),
    Probe("5.1", "what may come on a half-closed stream", HALF_CLOSED + widened(1, 9) + priority(1), NOTHING),
    Probe("5.1", "RST_STREAM on a half-closed stream", HALF_CLOSED + reset(1), NOTHING),
    Probe("5.1", "DATA on a closed stream", data(1, b"x"), CLOSED, first=called()),
    Probe("5.1", "HEADERS on a closed stream", called(), ENDS_CLOSED, first=called()),
    Probe("5.1", "trailers on a closed stream", trailers((b"a", b"b")), ENDS_CLOSED, first=called()),
    Probe("5.1", "CONTINUATION on a closed stream", continued(HEAD, "END_HEADERS"), ENDS_PROTOCOL, first=called()),
    Probe("5.1", "what may come on a closed stream", widened(1, 9) + reset(1) + priority(1), NOTHING, first=called()),
    Probe("5.1", "DATA after RST_STREAM", opened() + reset(1) + data(1, b"x"), CLOSED),
    Probe("5.1", "HEADERS after RST_STREAM", opened() + reset(1) + trailers((b"a", b"b")), ENDS_CLOSED),
    Probe(
        "5.1",
        "data for a call that was refused at once",
        data(1, b"x") + data(1, b"", "END_STREAM"),
        NOTHING,
        first=opened(pseudo=UNKNOWN),
    ),
    Probe(
        "5.1",
        "trailers for a call that was refused at once",
        trailers((b"a", b"b")),
        NOTHING,
        first=opened(pseudo=UNKNOWN),
    ),
    Probe(
        "5.1",
        "data after the end of a refused call",
        data(1, b"", "END_STREAM") + data(1, b"x"),
        CLOSED,
        first=opened(pseudo=UNKNOWN),
    ),
    Probe("5.1.1", "an even stream", called(stream=2), ENDS_PROTOCOL),
    Probe("5.1.1", "stream 0", raw(1, 5, 0, HEAD), ENDS_PROTOCOL),
    Probe("5.1.1", "a stream below the last one", called(stream=5) + called(stream=3), ENDS_PROTOCOL),
    Probe(
        "5.1.1", "data for a stream that was skipped", called(stream=5) + data(3, b"x"), Resets(Fault.STREAM_CLOSED, 3)
    ),
    Probe("5.1.1", "a reset of a stream that was skipped", called(stream=5) + reset(3), NOTHING),
    Probe("5.1.1", "streams may be skipped", called(stream=901) + called(stream=903), NOTHING),
]
PRIORITIES = [
    Probe("5.3", "HEADERS of a stream that depends on itself", headers(1, HEAD, "PRIORITY", depends_on=1), MALFORMED),
    Probe("5.3", "PRIORITY of a stream that depends on itself", opened() + priority(1, 1), MALFORMED),
    Probe("5.3", "an idle stream that depends on itself", raw(2, 0, 1, b"\0\0\0\1\0"), ENDS_PROTOCOL),
    Probe(
        "5.3",
        "priorities change nothing",
        headers(1, HEAD, "PRIORITY", depends_on=7) + data(1, message(), "END_STREAM"),
        GOOD,
    ),
]
DATA_FRAMES = [
    Probe("6.1", "DATA on stream 0", raw(0, 0, 0, b"x"), ENDS_PROTOCOL),
    Probe("6.1", "more padding than payload", opened() + raw(0, 8, 1, b"\x02x"), ENDS_PROTOCOL),
    Probe("6.1", "as much padding as payload", opened() + raw(0, 8, 1, b"\x01"), ENDS_PROTOCOL),
    Probe(
        "6.1", "more padding than payload, on a closed stream", raw(0, 8, 1, b"\xffx"), ENDS_PROTOCOL, first=called()
    ),
    Probe("6.1", "padding without its length", opened() + raw(0, 8, 1), ENDS_SIZE),
    Probe("6.1", "padding alone", opened() + raw(0, 8, 1, b"\x02\0\0") + data(1, message(), "END_STREAM"), GOOD),
    Probe("6.1", "padding", opened() + data(1, message(), "END_STREAM", "PADDED", pad_length=9), GOOD),
    Probe("6.1", "empty frames", opened() + data(1) + data(1, message()) + data(1) + data(1, b"", "END_STREAM"), GOOD),
]
HEADERS_FRAMES = [
    Probe("6.2", "HEADERS on stream 0, not ended", raw(1, 0, 0, HEAD), ENDS_PROTOCOL),
    Probe("6.2", "more padding than payload", raw(1, 0xD, 1, bytes([len(HEAD) + 1]) + HEAD), ENDS_PROTOCOL),
    Probe("6.2", "padding that takes the priority", raw(1, 0x2D, 1, b"\x05" + bytes(9)), ENDS_PROTOCOL),
    Probe("6.2", "padding without its length", raw(1, 0xD, 1), ENDS_SIZE),
    Probe("6.2", "a priority that is cut short", raw(1, 0x25, 1, bytes(4)), ENDS_SIZE),
    Probe(
        "6.2",
        "padding and priority",
        headers(1, HEAD, "PADDED", "PRIORITY", pad_length=3) + data(1, message(), "END_STREAM"),
        GOOD,
    ),
    Probe("6.3", "PRIORITY on stream 0", raw(2, 0, 0, bytes(5)), ENDS_PROTOCOL),
    Probe("6.3", "PRIORITY of four bytes", opened() + raw(2, 0, 1, bytes(4)), Resets(Fault.FRAME_SIZE_ERROR)),
    Probe("6.3", "PRIORITY of six bytes, on an idle stream", raw(2, 0, 1, bytes(6)), ENDS_SIZE),
    Probe(
        "6.3",
        "PRIORITY of four bytes, on a closed stream",
        raw(2, 0, 1, bytes(4)),
        Resets(Fault.FRAME_SIZE_ERROR),
        first=called(),
    ),
    Probe("6.4", "RST_STREAM on stream 0", raw(3, 0, 0, bytes(4)), ENDS_PROTOCOL),
    Probe("6.4", "RST_STREAM of three bytes", opened() + raw(3, 0, 1, bytes(3)), ENDS_SIZE),
    Probe("6.4", "RST_STREAM of five bytes", opened() + raw(3, 0, 1, bytes(5)), ENDS_SIZE),
    Probe("6.4", "RST_STREAM with an unknown code", opened() + raw(3, 0, 1, b"\xff" * 4), NOTHING),
]
SETTINGS_FRAMES = [
    Probe("6.5", "SETTINGS on a stream", raw(4, 0, 1), ENDS_PROTOCOL),
    Probe("6.5", "an acknowledgement with a payload", raw(4, 1, 0, bytes(6)), ENDS_SIZE),
    Probe("6.5", "SETTINGS of five bytes", raw(4, 0, 0, bytes(5)), ENDS_SIZE),
    Probe("6.5.2", "push neither on nor off", settings((PUSH, 2)), ENDS_PROTOCOL),
    Probe("6.5.2", "push off", settings((PUSH, 0), (PUSH, 1)) + called(), GOOD),
    Probe("6.5.2", "a window that is too large", settings((WINDOW, 2**31)), ENDS_FLOW),
    Probe("6.5.2", "frames that are too small", settings((FRAME_SIZE, 2**14 - 1)), ENDS_PROTOCOL),
    Probe("6.5.2", "frames that are too large", settings((FRAME_SIZE, 2**24)), ENDS_PROTOCOL),
    Probe("6.5.2", "the largest values", settings((WINDOW, LARGEST_WINDOW), (FRAME_SIZE, 2**24 - 1)) + called(), GOOD),
    Probe("6.5.2", "a setting that is not known", settings((0xABCD, 2**32 - 1)) + called(), GOOD),
    Probe("6.5.3", "a mistake that a later value heals", settings((FRAME_SIZE, 1), (FRAME_SIZE, 2**14)), ENDS_PROTOCOL),
    Probe("6.5.3", "the first of two mistakes", settings((WINDOW, 2**31), (PUSH, 2)), ENDS_FLOW),
    Probe("6.5.3", "the last of two values stays", settings((WINDOW, 0), (WINDOW, 65_535)) + called(), GOOD),
    Probe(
        "6.5.3", "a window that is too large in between",
        HALF_CLOSED + widened(1, 1000) + settings((WINDOW, LARGEST_WINDOW), (WINDOW, 65_535)), ENDS_FLOW,
    ),
]  # fmt: skip
OTHER_FRAMES = [
    Probe("6.6", "PUSH_PROMISE from a client", opened() + raw(5, 4, 1, bytes(4) + HEAD), ENDS_PROTOCOL),
    Probe("6.7", "PING on a stream", raw(6, 0, 1, bytes(8)), ENDS_PROTOCOL),
    Probe("6.7", "PING of seven bytes", raw(6, 0, 0, bytes(7)), ENDS_SIZE),
    Probe("6.7", "an answer to a PING that was not sent", raw(6, 1, 0, bytes(8)), NOTHING),
    Probe("6.8", "GOAWAY on a stream", raw(7, 0, 1, bytes(8)), ENDS_PROTOCOL),
    Probe("6.8", "GOAWAY of four bytes", raw(7, 0, 0, bytes(4)), ENDS_SIZE),
    Probe("6.8", "GOAWAY, then calls", goaway() + called(), GOOD),
    Probe("6.9", "the connection's window, widened by nothing", raw(8, 0, 0, bytes(4)), ENDS_PROTOCOL),
    Probe("6.9", "a stream's window, widened by nothing", opened() + widened(1, 0), MALFORMED),
    Probe("6.9", "WINDOW_UPDATE of three bytes", opened() + raw(8, 0, 1, bytes(3)), ENDS_SIZE),
    Probe("6.9", "the reserved bit", raw(8, 0, 0, b"\x80\0\0\1") + called(), GOOD),
    Probe("6.9.1", "a connection's window that is too large", window_of_connection(LARGEST_WINDOW), ENDS_FLOW),
    Probe("6.9.1", "a stream's window that is too large", opened() + widened(1, LARGEST_WINDOW), Resets(Fault.FLOW_CONTROL_ERROR)),
    Probe("6.9.2", "a window that SETTINGS make too large", HALF_CLOSED + widened(1, 1000) + settings((WINDOW, LARGEST_WINDOW)), ENDS_FLOW),
    Probe("6.9.2", "a window below nothing, widened again", settings((WINDOW, 3)) + called() + settings((WINDOW, 0)) + widened(1, 900) + settings((WINDOW, 999)), GOOD),
    Probe("6.10", "CONTINUATION on another stream", begun(HEAD) + continued(b"", "END_HEADERS", stream=3), ENDS_PROTOCOL),
    Probe("6.10", "CONTINUATION on stream 0", begun(HEAD) + raw(9, 4, 0), ENDS_PROTOCOL),
    Probe("6.10", "CONTINUATION after the end", opened() + continued(b"", "END_HEADERS"), ENDS_PROTOCOL),
    Probe("6.10", "CONTINUATION after DATA", opened() + data(1) + continued(b"", "END_HEADERS"), ENDS_PROTOCOL),
    Probe("6.10", "a block in three frames", begun(HEAD[:5]) + continued(HEAD[5:9]) + continued(HEAD[9:], "END_HEADERS") + data(1, message(), "END_STREAM"), GOOD),
    Probe("6.10", "a block that does not get on", begun(HEAD) + continued(b""), ENDS_CALM),
]  # fmt: skip
MESSAGES = [
    Probe("8.1", "headers that follow headers", opened() + headers(1, block((b"a", b"b"))), MALFORMED),
    Probe("8.1", "a second request", opened() + headers(1, HEAD, "END_STREAM"), MALFORMED),
    Probe("8.1", "trailers", opened() + data(1, message()) + trailers((b"a", b"b")), GOOD),
    Probe("8.1", "trailers without a field", opened() + data(1, message()) + trailers(), GOOD),
    Probe("8.1.1", "a content-length of too much", opened((b"content-length", b"999")) + data(1, message(), "END_STREAM"), MALFORMED),
    Probe("8.1.1", "a content-length of too little", opened((b"content-length", b"1")) + data(1, message()), MALFORMED),
    Probe("8.1.1", "a content-length of several frames", opened((b"content-length", b"9")) + data(1, b"12345") + data(1, b"123", "END_STREAM"), MALFORMED),
    Probe("8.1.1", "a content-length that is not met by trailers", opened((b"content-length", b"9")) + data(1, b"123") + trailers((b"a", b"b")), MALFORMED),
    Probe("8.1.1", "a content-length without a body", only_head(*POST, *GRPC, (b"content-length", b"1")), MALFORMED),
    Probe("8.1.1", "the right content-length", opened((b"content-length", b"%d" % len(message()))) + data(1, message(), "END_STREAM", "PADDED", pad_length=7), GOOD),
    Probe("8.1.1", "a content-length that is not a number", opened((b"content-length", b"+5")), MALFORMED),
    Probe("8.1.1", "two content-lengths", opened((b"content-length", b"5"), (b"content-length", b"6")), MALFORMED),
    Probe("8.1.1", "what is not gRPC is judged to its end", only_head(METHOD, SCHEME, PATH, (b"content-length", b"0")), HttpAnswers(415)),
    Probe("8.1.1", "what is not gRPC, and not what it says", headers(1, block(METHOD, SCHEME, PATH, (b"content-length", b"4"))) + data(1, b"12345", "END_STREAM"), MALFORMED),
]  # fmt: skip
BAD_FIELDS = {
    "8.2 a capital": (b"A", b"b"),
    "8.2.1 a capital within": (b"aB", b"b"),
    "8.2.1 an empty name": (b"", b"b"),
    "8.2.1 a blank in a name": (b"a b", b"b"),
    "8.2.1 a colon in a name": (b"a:b", b"b"),
    "8.2.1 a colon at the end of a name": (b"a:", b"b"),
    "8.2.1 a control character in a name": (b"a\x01", b"b"),
    "8.2.1 a line feed in a name": (b"a\n", b"b"),
    "8.2.1 the last control character in a name": (b"a\x7f", b"b"),
    "8.2.1 a byte beyond ASCII in a name": (b"a\x80", b"b"),
    "8.2.1 NUL in a value": (b"a", b"b\0c"),
    "8.2.1 CR in a value": (b"a", b"b\rc"),
    "8.2.1 LF in a value": (b"a", b"b\nc"),
    "8.2.1 LF at the end of a value": (b"a", b"b\n"),
    "8.2.1 a blank before a value": (b"a", b" b"),
    "8.2.1 a blank behind a value": (b"a", b"b "),
    "8.2.1 a tab before a value": (b"a", b"\tb"),
    "8.2.1 a tab behind a value": (b"a", b"b\t"),
    "8.2.1 a blank as a value": (b"a", b" "),
    "8.2.2 connection": (b"connection", b"close"),
    "8.2.2 proxy-connection": (b"proxy-connection", b"close"),
    "8.2.2 keep-alive": (b"keep-alive", b"9"),
    "8.2.2 transfer-encoding": (b"transfer-encoding", b"chunked"),
    "8.2.2 upgrade": (b"upgrade", b"h2c"),
    "8.2.2 te: gzip": (b"te", b"gzip"),
    "8.2.2 te: trailers and more": (b"te", b"trailers, gzip"),
}
GOOD_FIELDS = {
    "8.2.1 an empty value": (b"a", b""),
    "8.2.1 bytes beyond ASCII in a value": (b"a", b"\x80\xff"),
    "8.2.1 blanks within a value": (b"a", b"b \t c"),
    "8.2.1 every mark of a name": (b"a!#$%&'*+-.^_`|~9", b"b"),
    "8.2.2 te again": (b"te", b"Trailers"),
    "8.2.3 cookies in pieces": (b"cookie", b"a=b"),
}
FIELDS = [
    *(Probe(*name.split(" ", 1), opened(field), MALFORMED) for name, field in BAD_FIELDS.items()),
    *(
        Probe(*f"{name}, in trailers".split(" ", 1), opened() + data(1, message()) + trailers(field), MALFORMED)
        for name, field in BAD_FIELDS.items()
    ),
    *(Probe(*name.split(" ", 1), called(field, field), GOOD) for name, field in GOOD_FIELDS.items()),
    Probe("8.2.1", "a blank at the end of a pseudo-header field", with_pseudo(METHOD, SCHEME, (b":path", b"/x ")), MALFORMED),
    Probe("8.2.1", "LF in a pseudo-header field", with_pseudo(METHOD, SCHEME, PATH, (b":authority", b"x\ny")), MALFORMED),
]  # fmt: skip
REQUESTS = [
    Probe("8.3", "an unknown pseudo-header field", with_pseudo(*POST, (b":odd", b"x")), MALFORMED),
    Probe("8.3", "a pseudo-header field of answers", with_pseudo(*POST, (b":status", b"200")), MALFORMED),
    Probe("8.3", "a pseudo-header field behind others", only_head(METHOD, SCHEME, (b"a", b"b"), PATH), MALFORMED),
    Probe("8.3", "a pseudo-header field at the end", only_head(*POST[:3], *GRPC, AUTHORITY), MALFORMED),
    Probe("8.3", "a pseudo-header field in trailers", opened() + trailers((b":path", b"/")), MALFORMED),
    Probe("8.3", "a pseudo-header field behind others, in trailers", opened() + trailers((b"a", b"b"), METHOD), MALFORMED),
    Probe("8.3.1", "no method", with_pseudo(SCHEME, PATH, AUTHORITY), MALFORMED),
    Probe("8.3.1", "no scheme", with_pseudo(METHOD, PATH, AUTHORITY), MALFORMED),
    Probe("8.3.1", "no path", with_pseudo(METHOD, SCHEME, AUTHORITY), MALFORMED),
    Probe("8.3.1", "an empty path", with_pseudo(METHOD, SCHEME, (b":path", b"")), MALFORMED),
    Probe("8.3.1", "an empty method", with_pseudo((b":method", b""), SCHEME, PATH), MALFORMED),
    Probe("8.3.1", "a path that is not absolute", with_pseudo(METHOD, SCHEME, (b":path", b"x")), MALFORMED),
    Probe("8.3.1", "the asterisk for POST", with_pseudo(METHOD, SCHEME, (b":path", b"*")), MALFORMED),
    Probe("8.3.1", "the asterisk for OPTIONS", only_head((b":method", b"OPTIONS"), SCHEME, (b":path", b"*")), HttpAnswers(405)),
    *(Probe("8.3.1", f"two of {one[0].decode()}", with_pseudo(*POST, one), MALFORMED) for one in POST),
    Probe("8.3.1", "a host that is not the authority", only_head(*POST, *GRPC, (b"host", b"y")), MALFORMED),
    Probe("8.3.1", "a host that is the authority", called((b"host", b"X:80")), GOOD),
    Probe("8.3.1", "a host without an authority", called((b"host", b"y"), pseudo=POST[:3]), GOOD),
    Probe("8.3.1", "no authority", called(pseudo=POST[:3]), GOOD),
    Probe("8.5", "CONNECT", headers(1, block((b":method", b"CONNECT"), AUTHORITY)), HttpAnswers(405)),
    Probe("8.5", "CONNECT with a scheme", only_head((b":method", b"CONNECT"), SCHEME, AUTHORITY), MALFORMED),
    Probe("8.5", "CONNECT with a path", only_head((b":method", b"CONNECT"), PATH, AUTHORITY), MALFORMED),
    Probe("8.5", "CONNECT without an authority", only_head((b":method", b"CONNECT")), MALFORMED),
    Probe("10.5.1", "a header list beyond all limits", b"".join(
        [raw(1, 0, 1, HEAD), *(raw(9, 0, 1, bytes(2**14)) for _ in range(17))]), ENDS_CALM),
]  # fmt: skip

PROBES = [
    *BEGINNING, *FRAMES, *STREAMS, *PRIORITIES, *DATA_FRAMES, *HEADERS_FRAMES, *SETTINGS_FRAMES, *OTHER_FRAMES,
    *MESSAGES, *FIELDS, *REQUESTS,
]  # fmt: skip


@pytest.mark.parametrize("probe", PROBES, ids=lambda one: one.id)
def test_the_port_reacts_as_the_section_says(probed_site: GrpcSite, bystander: Bystander, probe: Probe) -> None:
    """Each probe names its section; another client's connection is never concerned."""
    probe.run(probed_site)

    assert bystander.ask() == "0"


def test_every_probe_is_another() -> None:
    """A name that is given twice would hide one of them."""
    names = [one.id for one in PROBES]

    assert len(set(names)) == len(names) > 120
