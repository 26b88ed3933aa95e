"""What a request of version 2 asks for: every path with its method, names as they were sent, and what is refused."""

from __future__ import annotations

import pytest

from core.errors import InvalidArgument, NotFound
from core.oip.model_reference import ModelReference
from core.oip.path import OipRequest, Operation, WrongMethod, is_oip, parse_oip_request

M, V, L = ModelReference("m"), ModelReference("m", 3), ModelReference("m", None, "stable")
ASKED = [
    ("GET", "/v2", OipRequest(Operation.SERVER), "/v2"),
    ("GET", "/v2/", OipRequest(Operation.SERVER), "/v2"),
    ("GET", "/v2/health/live", OipRequest(Operation.LIVE), "/v2/health/live"),
    ("GET", "/v2/health/ready", OipRequest(Operation.READY), "/v2/health/ready"),
    ("GET", "/v2/models", OipRequest(Operation.MODELS), "/v2/models"),
    ("GET", "/v2/models/stats", OipRequest(Operation.STATISTICS), "/v2/models/stats"),
    ("GET", "/v2/models/m", OipRequest(Operation.METADATA, M), "/v2/models/{model}"),
    ("GET", "/v2/models/m/versions/3", OipRequest(Operation.METADATA, V), "/v2/models/{model}/versions/{version}"),
    ("GET", "/v2/models/m/labels/stable", OipRequest(Operation.METADATA, L), "/v2/models/{model}/labels/{label}"),
    *(
        (method, f"/v2/models/m{place}/{what}", OipRequest(operation, asked), f"/v2/models/{{model}}{shown}/{what}")
        for method, what, operation in (
            ("GET", "ready", Operation.MODEL_READY),
            ("POST", "infer", Operation.INFER),
            ("GET", "config", Operation.CONFIG),
            ("GET", "stats", Operation.STATISTICS),
        )
        for place, asked, shown in (
            ("", M, ""),
            ("/versions/3", V, "/versions/{version}"),
            ("/labels/stable", L, "/labels/{label}"),
        )
    ),
    ("POST", "/v2/repository/index", OipRequest(Operation.INDEX), "/v2/repository/index"),
    ("POST", "/v2/repository/r/index", OipRequest(Operation.INDEX, None, "", "r"), "/v2/repository/{repository}/index"),
    *(
        ("POST", f"/v2/repository{sent}/models/m/{what}", OipRequest(operation, M, "", name), shown)
        for what, operation in (("load", Operation.LOAD), ("unload", Operation.UNLOAD))
        for sent, name, shown in (
            ("", "", f"/v2/repository/models/{{model}}/{what}"),
            ("/r", "r", f"/v2/repository/{{repository}}/models/{{model}}/{what}"),
        )
    ),
]
"""Method, path, what it asks for, and the pattern of the path."""


@pytest.mark.parametrize(("method", "path", "asked", "route"), ASKED, ids=[f"{one[0]} {one[1]}" for one in ASKED])
def test_every_path_has_its_meaning_and_its_pattern(method: str, path: str, asked: OipRequest, route: str) -> None:
    """The pattern is the same for all models, so that tools can group by it."""
    request = parse_oip_request(method, path)

    assert request == asked
    assert request.route == route


@pytest.mark.parametrize(("method", "path", "asked", "_"), ASKED, ids=[f"{one[0]} {one[1]}" for one in ASKED])
def test_another_method_is_refused_with_the_right_one(method: str, path: str, asked: OipRequest, _: str) -> None:
    """HEAD is GET without its body."""
    allowed = {"GET": ("GET", "HEAD"), "POST": ("POST",)}[method]
    for other in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"):
        if other in allowed:
            assert parse_oip_request(other, path) == asked
            continue
        with pytest.raises(WrongMethod, match=r"^Method Not Allowed$") as refused:
            parse_oip_request(other, path)
        assert refused.value.allowed == ", ".join(allowed)


@pytest.mark.parametrize(
    "path",
    [
        *("/v2/x", "/v2//", "/v2/health", "/v2/health/", "/v2/health/dead", "/v2/health/live/", "/v2/HEALTH/live"),
        *("/v2/models/", "/v2/models//infer", "/v2/models/m/", "/v2/models/m/predict", "/v2/models/m:predict/x"),
        *("/v2/models/m/infer/", "/v2/models/m/versions", "/v2/models/m/versions/", "/v2/models/m/versions//infer"),
        *("/v2/models/m/labels/", "/v2/models/m/versions/1/labels/x", "/v2/models/m/versions/1/2"),
        *("/v2/models/m/generate", "/v2/models/m/generate_stream", "/v2/models/m/trace/setting"),
        *("/v2/repository", "/v2/repository/models/m", "/v2/repository/models//load", "/v2/repository/a/b/index"),
        *("/v2/trace/setting", "/v2/logging", "/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status"),
        *("/v2/docs", "/v2/docs/dataplane.json"),
    ],
)
def test_another_path_is_not_found(path: str) -> None:
    """With the words that clients of the protocol know."""
    for method in ("GET", "POST", "DELETE"):
        with pytest.raises(NotFound, match=r"^Not Found$"):
            parse_oip_request(method, path)


@pytest.mark.parametrize(
    "version", ["x", "-1", "+1", "1.0", "%2B1", "0x1", "\u0661", "9223372036854775808", "9" * 400, "latest"]
)
@pytest.mark.parametrize("what", ["", "/ready", "/infer"])
def test_a_version_that_is_not_a_number_is_not_found(version: str, what: str) -> None:
    """As in Triton, whose paths have digits there; the text is named, and a number beyond 63 bits is none."""
    with pytest.raises(NotFound, match="failed to get model version from specified version string"):
        parse_oip_request("POST" if what == "/infer" else "GET", f"/v2/models/m/versions/{version}{what}")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("my%20model", "my model"),
        ("a%2Fb", "a/b"),
        ("a+b", "a+b"),
        ("m:predict", "m:predict"),
        ("%66%C3%BC", "f\u00fc"),
        ("f\u00fc", "f\u00fc"),
        ("%", "%"),
        ("%zz", "%zz"),
        ("%FF", "\udcff"),
        ("\udcff", "\udcff"),
        ("\udcc3%BC", "\u00fc"),
        ("st%61ts", "stats"),
        ("%00", "\0"),
    ],
)
def test_names_are_decoded(sent: str, name: str) -> None:
    """Percent escapes only; bytes that are not UTF-8 survive."""
    assert parse_oip_request("GET", f"/v2/models/{sent}").name == name
    assert parse_oip_request("POST", f"/v2/models/m/labels/{sent}/infer").model == ModelReference("m", None, name)
    assert parse_oip_request("POST", f"/v2/repository/{sent}/models/{sent}/load").repository == name


def test_leading_zeros_and_escapes_do_not_change_a_version() -> None:
    """A version is a number."""
    assert parse_oip_request("GET", "/v2/models/m/versions/0003").model == V
    assert parse_oip_request("GET", "/v2/models/m/versions/%33").model == V
    assert parse_oip_request("GET", f"/v2/models/m/versions/{2**63 - 1}").model == ModelReference("m", 2**63 - 1)


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("/v2/models/m", ""),
        ("/v2/models/m?", ""),
        ("/v2/models/m?signature_name=s", "s"),
        ("/v2/models/m?a=1&signature_name=a%20b+c#signature_name=x", "a b c"),
        ("/v2/models/m?signature_name=a&signature_name=b", "b"),
        ("/v2/models/m?signature_name=%FF", "\udcff"),
        ("/v2/models/m?&&==;%", ""),
    ],
)
def test_a_query_has_parameters(target: str, value: str) -> None:
    """The last of a name counts, and what follows `#` is dropped."""
    assert parse_oip_request("GET", target).parameter("signature_name") == value


def test_a_query_of_very_many_parameters_is_refused() -> None:
    """To read them takes time from all others."""
    assert parse_oip_request("GET", "/v2/models/m?" + "a=1&" * 99).parameter("b") == ""
    with pytest.raises(InvalidArgument, match="the query has more than 100 parameters"):
        parse_oip_request("GET", "/v2/models/m?" + "a=1&" * 101).parameter("b")


def test_version_2_answers_below_its_prefix_only() -> None:
    """Names that only begin like it belong to others."""
    assert all(map(is_oip, ("/v2", "/v2/", "/v2/x", "/v2?x", "/v2#x")))
    assert not any(map(is_oip, ("/v1/models", "/v22", "/v2x", "/", "", "//v2", "/V2", "v2")))
