"""Requests of the Open Inference Protocol that nobody sends by accident, over REST and gRPC, and their right answers."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from core.inference.protobuf_wire import tag, varint
from tests.support.doors.raw_http import chunked, request
from tests.support.hostile_requests import MILLION, field

MODEL = "half_plus_two"
WORDS = "text_upper"
INFER = f"/v2/models/{MODEL}/infer"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
MISTAKE = "INVALID_ARGUMENT"

FLOATS = struct.pack("<2f", 1.0, 2.0)
GOOD = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}]}'
BINARY = '{"inputs":[{"name":"x","datatype":"FP32","shape":%s,"parameters":{"binary_data_size":%s}}]}'


class HostilePost(NamedTuple):
    """Bytes of one HTTP request, and the status that they get; `ends` where its connection must end then."""

    what: str
    content: bytes
    status: int
    ends: bool = False


class HostileCall(NamedTuple):
    """The body of one ModelInfer, and its code."""

    what: str
    body: bytes
    code: str


def _member(name: str, text: str) -> bytes:
    """Return a good request in which one member of the input has another value."""
    members = {"name": '"x"', "datatype": '"FP32"', "shape": "[2]", "data": "[1,2]"} | {name: text}
    return b'{"inputs":[{%s}]}' % ",".join(f'"{key}":{value}' for key, value in members.items()).encode()


def _nested(depth: int) -> str:
    return "[" * depth + "1" + "]" * depth


def _with(text: str) -> bytes:
    """Return a good request with more members."""
    return b"%b,%b}" % (GOOD[:-1], text.encode())


def _post(body: bytes, *headers: str) -> bytes:
    return request("POST", INFER, body, *headers)


def _binary(size: object, raw: bytes = FLOATS, *, shape: str = "[2]", length: object = None) -> bytes:
    head = BINARY % (shape, size)
    length = len(head) if length is None else length
    return _post(head.encode() + raw, f"Inference-Header-Content-Length: {length}")


def hostile_posts() -> Iterator[HostilePost]:
    """Yield requests over REST."""
    yield from _malformed()
    yield from _members()
    yield from _raw_tensors()
    yield from _codings()
    yield from _framing()
    yield from _paths()


def _malformed() -> Iterator[HostilePost]:
    texts = {
        "nothing": b"", "blanks": b" \n ", "half an object": b"{", "no object": b"[]", "a word": b"null",
        "bytes that are not text": b"\xff\xfe\0", "another encoding": GOOD.decode().encode("utf-16"),
        "something behind it": GOOD + b"x", "two documents": GOOD * 2, "a name that is not UTF-8": GOOD.replace(b'"x"', b'"\xff"'),
        "open lists": b"[" * 100_000, "open objects": b'{"a":' * 50_000,
        "no inputs": b"{}", "inputs that are null": b'{"inputs":null}', "inputs that are empty": b'{"inputs":[]}',
        "inputs that are numbers": b'{"inputs":[1]}', "100,000 empty inputs": b'{"inputs":[%b{}]}' % (b"{}," * 100_000),
        "one input twice": GOOD.replace(b"]}]}", b']},{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'),
        "50,000 inputs": b'{"inputs":[%b]}' % b",".join(
            b'{"name":"x%d","datatype":"FP32","shape":[1],"data":[1]}' % number for number in range(50_000)
        ),
    }  # fmt: skip
    for what, body in texts.items():
        yield HostilePost(what, _post(body), 400)


def _members() -> Iterator[HostilePost]:
    wrong = {
        "name": ("null", "1", '""', '"x\\u0000"', '"\\ud800"', '"%s"' % ("x" * MILLION)),
        "datatype": ("null", "1", '""', '"FP33"', '"COMPLEX64"', '"INT32"', '"BYTES"', '"\\ud800"'),
        "shape": (
            "null", "2", "{}", "[-1]", "[1.5]", "[true]", '["2"]', "[[2]]", "[3]", "[]", "[0]", "[1e300]", "[NaN]",
            "[4611686018427387904]", "[4611686018427387904,4611686018427387904]", "[0,4611686018427387904]",
            "[%s]" % ("9" * 400), "[%s1]" % ("1," * 64), "[%s1]" % ("1," * MILLION), "[" * 100_000,
        ),
        "data": (
            "null", "{}", "1", '"1"', "[]", "[1]", "[1,2,3]", "[[1],[2,3]]", "[[1],2]", "[1,[2]]", "[true,false]",
            '["1","2"]', "[1,,2]", "[01,2]", "[1e400,1]", _nested(101),
            _nested(100_000),
        ),
    }  # fmt: skip
    for member, texts in wrong.items():
        for text in texts:
            yield HostilePost(f"{member} {text[:30]}", _post(_member(member, text)), 400)
    more = (
        '"id":1', '"id":true', '"id":{}', '"parameters":[]', '"parameters":1', '"parameters":{"signature_name":1}',
        '"parameters":{"signature_name":"nope"}', '"parameters":{"timeout":-1}', '"parameters":{"timeout":"1"}',
        '"parameters":{"timeout":NaN}', '"parameters":{"sequence_id":1}', '"parameters":{"binary_data_output":"yes"}',
        '"outputs":{}', '"outputs":[1]', '"outputs":[{}]', '"outputs":[{"name":"z"}]',
        '"outputs":[{"name":"y"},{"name":"y"}]', '"outputs":[{"name":"y","parameters":{"classification":2}}]',
        '"outputs":[%s{"name":"y"}]' % ('{"name":"y"},' * 100_000),
    )  # fmt: skip
    for text in more:
        yield HostilePost(text[:60], _post(_with(text)), 400)
    yield HostilePost("a long id", _post(_with('"id":"%s"' % ("i" * MILLION))), 200)
    yield HostilePost("many parameters", _post(_with('"parameters":{%s"b":1}' % ('"a":1,' * 50_000))), 200)


def _raw_tensors() -> Iterator[HostilePost]:
    for size in ("-1", "9", "0", "8.5", "true", '"8"', "[8]", "1e300", "4611686018427387904"):
        yield HostilePost(f"binary_data_size {size}", _binary(size), 400)
    for length in ("-1", "+5", "0x10", "1e2", "abc", "9" * 5000, 10, 2**31, 2**63, "\xb2"):
        yield HostilePost(f"a JSON length of {str(length)[:20]}", _binary(8, length=length), 400)
    yield HostilePost("a part that is cut", _binary(8, FLOATS[:5]), 400)
    yield HostilePost("no part", _binary(8, b""), 400)
    yield HostilePost("bytes behind the parts", _binary(8, FLOATS + b"x"), 400)
    yield HostilePost("no JSON length", _post((BINARY % ("[2]", 8)).encode() + FLOATS), 400)
    yield HostilePost("no JSON", _post(FLOATS, "Content-Type: application/octet-stream"), 400)
    yield HostilePost("a raw request of half a float", _post(b"ab", "Inference-Header-Content-Length: 0"), 400)
    for shape in ("[-1]", "[4611686018427387904]", "[0,4611686018427387904]", "[2147483648,2147483648]"):
        yield HostilePost(f"raw {shape}", _binary(8, shape=shape), 400)
    strings = {
        "a length of 4 GiB": (b"\xff\xff\xff\xffa", 1), "an element that is cut": (b"\2\0\0\0a", 1),
        "half a length": (b"\1\0", 1), "too few elements": (b"\0\0\0\0", 2), "too many elements": (bytes(8), 1),
        "a hundred million elements": (b"\0\0\0\0", 10**8),
    }  # fmt: skip
    for what, (raw, count) in strings.items():
        head = '{"inputs":[{"name":"text","datatype":"BYTES","shape":[%d],"parameters":{"binary_data_size":%d}}]}'
        told = (head % (count, len(raw))).encode()
        header = f"Inference-Header-Content-Length: {len(told)}"
        yield HostilePost(what, request("POST", f"/v2/models/{WORDS}/infer", told + raw, header), 400)


def _codings() -> Iterator[HostilePost]:
    packed, stream = gzip.compress(GOOD), zlib.compress(GOOD)
    for what, coding, body, status in (
        ("gzip of garbage", "gzip", b"garbage", 400),
        ("gzip that is cut", "gzip", packed[:-6], 400),
        ("gzip of nothing", "gzip", b"", 400),
        ("deflate of garbage", "deflate", b"garbage", 400),
        ("deflate that is cut", "deflate", stream[:-5], 400),
        ("a stream without zlib's head", "deflate", stream[2:-4], 400),
        ("an unknown coding", "br", GOOD, 501),
        ("gzip whose inside is longer than the JSON", "gzip", gzip.compress(GOOD + FLOATS), 400),
        ("a gzip bomb", "gzip", gzip.compress(b"[" * 20 * MILLION), 400),
    ):
        yield HostilePost(what, _post(body, f"Content-Encoding: {coding}"), status)


def _framing() -> Iterator[HostilePost]:
    head = f"POST {INFER} HTTP/1.%d\r\nHost: x\r\n%s\r\n"
    length = f"Content-Length: {len(GOOD)}\r\n"
    yield HostilePost("HTTP/1.0", (head % (0, length)).encode() + GOOD, 200, ends=True)
    yield HostilePost("HTTP/1.0 without a length", (head % (0, "")).encode(), 400, ends=True)
    yield HostilePost("chunks of one byte", chunked("POST", INFER, *(bytes([one]) for one in GOOD)), 200)
    both = f"{length}Transfer-Encoding: chunked\r\n"
    yield HostilePost("a length and chunks", (head % (1, both)).encode() + b"0\r\n\r\n", 400, ends=True)
    two = f"{length}Content-Length: 1\r\n"
    yield HostilePost("two lengths", (head % (1, two)).encode() + GOOD, 400, ends=True)
    yield HostilePost("an expectation", (head % (1, length + "Expect: x\r\n")).encode() + GOOD, 417, ends=True)


def _paths() -> Iterator[HostilePost]:
    long = "m" * 50_000
    for path in (
        "/v2/models//infer", "/v2/models/%2F/infer", "/v2/models/../infer", "/v2/models/%ff%fe/infer",
        "/v2/models/%00/infer", f"/v2/models/{long}/infer", "/v2/models/nope/infer", f"{INFER}/", "/v2/health",
        f"/v2/models/{MODEL}/versions/-1/infer", f"/v2/models/{MODEL}/versions/x/infer",
        f"/v2/models/{MODEL}/versions/9223372036854775808/infer", f"/v2/models/{MODEL}/versions/{'1' * 5000}/infer",
        f"/v2/models/{MODEL}/labels/none/infer", f"/v2/models/{MODEL}/generate", "/v2/systemsharedmemory/status",
    ):  # fmt: skip
        yield HostilePost(path[:60], request("POST", path, GOOD), 404)
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "GET"):
        yield HostilePost(f"{method} of inference", request(method, INFER, GOOD), 405)
    yield HostilePost("an inference without a model", request("POST", "/v2/models", GOOD), 405)


def _input(*dims: int, name: bytes = b"x", datatype: bytes = b"FP32", more: bytes = b"") -> bytes:
    shape = field(3, b"".join(varint(size % 2**64) for size in dims)) if dims else b""
    return field(5, field(1, name) + field(2, datatype) + shape + more)


def _parameter(key: bytes, value: bytes, number: int = 4) -> bytes:
    return field(number, field(1, key) + field(2, value))


ASKED = field(1, MODEL.encode())
RAW = field(7, FLOATS)
TYPED = field(5, field(6, FLOATS))
PLAIN = ASKED + _input(2) + RAW


def hostile_calls() -> Iterator[HostileCall]:
    """Yield bodies of ModelInfer."""
    yield HostileCall("nothing", b"", "NOT_FOUND")
    yield HostileCall("no inputs", ASKED, MISTAKE)
    yield HostileCall("a long name", field(1, b"m" * MILLION) + _input(2) + RAW, "NOT_FOUND")
    yield HostileCall("a name that is not UTF-8", field(1, b"\xff") + _input(2) + RAW, MISTAKE)
    yield HostileCall("a million names", ASKED * MILLION + _input(2) + RAW, "OK")
    yield HostileCall("a million inputs", ASKED + _input(2) * MILLION, MISTAKE)
    yield HostileCall("a million raw contents", ASKED + _input(2) + field(7, b"") * MILLION, MISTAKE)
    yield HostileCall("a million outputs", PLAIN + field(6, field(1, b"y")) * MILLION, MISTAKE)
    yield HostileCall("a million parameters", PLAIN + _parameter(b"a", b"") * MILLION, MISTAKE)
    yield HostileCall("deep groups", ASKED + b"\x7b" * MILLION, MISTAKE)
    yield HostileCall("a number without end", ASKED + b"\x08" + b"\xff" * MILLION, MISTAKE)
    yield from _hostile_versions()
    yield from _hostile_tensors()
    yield from _hostile_parameters()


def _hostile_versions() -> Iterator[HostileCall]:
    for version, code in (
        ("2", "NOT_FOUND"), ("-1", MISTAKE), ("x", MISTAKE), (" 1", MISTAKE), ("1\0", MISTAKE), ("9" * MILLION, MISTAKE),
        (str(2**63 - 1), "NOT_FOUND"), (str(2**63), MISTAKE),
    ):  # fmt: skip
        yield HostileCall(f"version {version[:20]}", PLAIN + field(2, version.encode()), code)


def _hostile_tensors() -> Iterator[HostileCall]:
    large = bytes(80_000)
    shapes = ((2**62,), (2**62, 2**62), (0, 2**62), (2**31, 2**31), (-1,), (-(2**63),), (3,), (), (0,), (1,) * 65)
    for dims in (*shapes, (1,) * MILLION):
        told = f"{dims[:2]} of rank {len(dims)}"
        yield HostileCall(f"raw {told}", ASKED + _input(*dims) + RAW, MISTAKE)
        yield HostileCall(f"typed {told}", ASKED + _input(*dims, more=TYPED), MISTAKE)
    for datatype in (b"", b"FP33", b"INT32", b"BYTES", b"FP16", b"\0", b"m" * MILLION):
        yield HostileCall(f"datatype {datatype[:8]!r}", ASKED + _input(2, datatype=datatype) + RAW, MISTAKE)
    for number in (1, 2, 3, 4, 5, 7, 8):
        yield HostileCall(f"contents in {number}", ASKED + _input(2, more=field(5, field(number, FLOATS))), MISTAKE)
    yield HostileCall("raw and typed", ASKED + _input(2, more=TYPED) + RAW, MISTAKE)
    yield HostileCall("too many raw contents", PLAIN + RAW, MISTAKE)
    yield HostileCall("raw contents without inputs", ASKED + RAW, MISTAKE)
    yield HostileCall("half a float", ASKED + _input(2, more=field(5, field(6, b"abc"))), MISTAKE)
    yield HostileCall("one input twice", ASKED + _input(2) * 2 + RAW * 2, MISTAKE)
    yield HostileCall("a large part that is cut", ASKED + _input(20_000) + field(7, large)[:-1], MISTAKE)
    for length in (80_001, 2**32 - 1, 2**64 - 1):
        told = ASKED + _input(20_000) + tag(7) + varint(length) + large
        yield HostileCall(f"a claimed length of {length}", told, MISTAKE)
    words = field(1, WORDS.encode())
    for raw, count in ((b"\xff\xff\xff\xffa", 1), (b"\2\0\0\0a", 1), (b"\1\0", 1), (bytes(4), 2), (bytes(4), 10**8)):
        strings = words + _input(count, name=b"text", datatype=b"BYTES") + field(7, raw)
        yield HostileCall(f"strings {raw!r} of {count}", strings, MISTAKE)


def _hostile_parameters() -> Iterator[HostileCall]:
    number, text = b"\x10\x01", field(3, b"nope")
    for key, value, code in (
        (b"signature_name", number, MISTAKE), (b"signature_name", text, MISTAKE), (b"version_label", number, MISTAKE),
        (b"version_label", text, "NOT_FOUND"), (b"timeout", text, MISTAKE), (b"sequence_id", number, MISTAKE),
        (b"timeout", b"\x10" + varint(2**64 - 1), MISTAKE), (b"timeout", b"\x21" + struct.pack("<d", float("nan")), MISTAKE),
        (b"timeout", b"\x28" + varint(2**64 - 1), "OK"), (b"\xff", number, MISTAKE), (b"", b"", "OK"),
    ):  # fmt: skip
        yield HostileCall(f"parameter {key!r} {value!r}", PLAIN + _parameter(key, value), code)
    both = PLAIN + field(2, b"1") + _parameter(b"version_label", text)
    yield HostileCall("a version and a label", both, MISTAKE)
    classified = PLAIN + field(6, field(1, b"y") + _parameter(b"classification", number, 2))
    yield HostileCall("a classification", classified, MISTAKE)


def random_posts(seed: int, count: int) -> Iterator[bytes]:
    """Yield bodies over REST, with their headers: good ones that are cut, changed or have something put in."""
    dice = random.Random(seed)
    good = [_post(GOOD), _binary(8), _post(gzip.compress(GOOD), "Content-Encoding: gzip"), _post(_with('"id":"a"'))]
    for _ in range(count):
        head, body = dice.choice(good).split(b"\r\n\r\n", 1)
        told = [one for one in head.split(b"\r\n")[2:] if not one.startswith(b"Content-Length")]
        yield _post(_changed(dice, body), *(one.decode() for one in told))


def random_calls(seed: int, count: int) -> Iterator[bytes]:
    """Yield bodies of ModelInfer: good ones that are cut, changed or have something put in."""
    dice = random.Random(seed)
    good = [
        PLAIN,
        ASKED + _input(2, more=TYPED),
        ASKED + _input(10_000) + field(7, bytes(40_000)),
        PLAIN + _parameter(b"a", b""),
    ]
    for _ in range(count):
        yield _changed(dice, dice.choice(good))


def _changed(dice: random.Random, good: bytes) -> bytes:
    body, reach = bytearray(good), min(len(good), 200)
    kind = dice.randrange(4)
    if kind == 0:
        del body[dice.randrange(len(body)) :]
    elif kind == 1:
        for _ in range(dice.randrange(1, 6)):
            body[dice.randrange(reach)] = dice.randrange(256)
    elif kind == 2:
        at = dice.randrange(reach)
        body[at:at] = dice.randbytes(dice.randrange(1, 12))
    else:
        body[dice.randrange(reach)] ^= 1 << dice.randrange(8)
    return bytes(body)


def is_error(body: bytes) -> bool:
    """Whether a body is the protocol's error: an object with one member, a text."""
    told = json.loads(body)
    return set(told) == {"error"} and isinstance(told["error"], str) and told["error"] != ""
