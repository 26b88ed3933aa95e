"""Tests of what a REST request asks for, from its method and target alone."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.rest.path import RestRequest, UnconvertibleVersion, Verb, decoded, is_api, parse_request

RESERVED = "modelname!#$%&'()*+,/:;=?@[]"
ENCODED = "modelname%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("/statuspage", False, id="case_A2-statuspage"),
        pytest.param("/index", False, id="case_A2-index"),
        ("/v1", False),
        ("/v1/", True),
        ("/v1/models", True),
        ("/V1/anything?x=1", True),
        ("/v2/models", False),
        ("/x/v1/models", False),
    ],
)
def test_only_targets_below_v1_belong_to_the_api(target, expected) -> None:
    """Everything else is answered by the HTTP layer."""
    assert is_api(target) is expected


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "/v1/models/foo:predict", RestRequest(Verb.PREDICT, "foo")),
        ("POST", "/v1/models/foo:classify", RestRequest(Verb.CLASSIFY, "foo")),
        ("POST", "/v1/models/foo/versions/7:regress", RestRequest(Verb.REGRESS, "foo", 7)),
        ("POST", "/v1/models/foo/versions/000007:predict", RestRequest(Verb.PREDICT, "foo", 7)),
        ("POST", "/v1/models/foo/versions/0:predict", RestRequest(Verb.PREDICT, "foo", 0)),
        (
            "POST",
            "/v1/models/foo/versions/9223372036854775807:predict",
            RestRequest(Verb.PREDICT, "foo", 9223372036854775807),
        ),
        ("POST", "/v1/models/foo/labels/some_label:regress", RestRequest(Verb.REGRESS, "foo", None, "some_label")),
        pytest.param("GET", f"/v1/models/{ENCODED}", RestRequest(Verb.STATUS, RESERVED), id="case_A16"),
        pytest.param(
            "GET", "/v1/models/modelname/versions/99", RestRequest(Verb.STATUS, "modelname", 99), id="case_A17"
        ),
        pytest.param(
            "GET",
            "/v1/models/modelname/labels/latest/metadata",
            RestRequest(Verb.METADATA, "modelname", None, "latest"),
            id="case_A20",
        ),
        pytest.param(
            "POST",
            f"/v1/models/{ENCODED}/labels/{ENCODED}:predict",
            RestRequest(Verb.PREDICT, RESERVED, None, RESERVED),
            id="case_A23",
        ),
        pytest.param("POST", "/V1/MODELS/foo:predict", RestRequest(Verb.PREDICT, "foo"), id="case_A25"),
        pytest.param("GET", "/v1/models/foo/METADATA", RestRequest(Verb.STATUS, "foo"), id="case_A26"),
        pytest.param("GET", "/v1/models/foo?x=1", RestRequest(Verb.STATUS, "foo?x=1"), id="case_A29"),
        ("GET", "/v1/models/foo/metadata", RestRequest(Verb.METADATA, "foo")),
        ("GET", "/v1/models/metadata", RestRequest(Verb.STATUS, "metadata")),
        ("GET", "/v1/models/foo/versions/2/metadata", RestRequest(Verb.METADATA, "foo", 2)),
        ("GET", "/v1/models/a+b%20c", RestRequest(Verb.STATUS, "a+b c")),
        ("GET", "/v1/models/foo#part", RestRequest(Verb.STATUS, "foo#part")),
        ("GET", "/v1/models", RestRequest(Verb.LIST, "")),
        ("GET", "/V1/Models", RestRequest(Verb.LIST, "")),
    ],
)
def test_a_request_is_read(method, target, expected) -> None:
    """The prefix does not care about case; names and labels are decoded after the match."""
    assert parse_request(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("GET", "/v1/foo", id="case_A3"),
        pytest.param("POST", "/v1/foo", id="case_A4"),
        pytest.param("POST", "/v1/models/foo/metadata", id="case_A13"),
        pytest.param("POST", "/v1/models/foo/label/some_label:regress", id="case_A14"),
        pytest.param("POST", "/v1/models/foo:PREDICT", id="case_A24"),
        ("POST", "/v1/models/foo:predict?x=1"),
        ("POST", "/v1/models/:predict"),
        ("POST", "/v1/models/foo/versions/1/labels/x:predict"),
        ("POST", "/v1/models/foo/versions/-1:predict"),
        ("POST", "/v1/models/foo/versions/\u0661:predict"),
        ("POST", "/v1/models/foo:multiInference"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models?x=1"),
        ("GET", "/v1/models/foo:predict"),
        ("GET", "/v1/models/foo/metadata/"),
        ("GET", "/v1/models/foo/versions/1?x=1"),
        ("PUT", "/v1/models/foo"),
        ("DELETE", "/v1/models/foo"),
        ("PATCH", "/v1/models/foo:predict"),
        ("HEAD", "/v1/models/foo"),
    ],
)
def test_anything_else_is_malformed(method, target) -> None:
    """The text repeats the request as it came."""
    with pytest.raises(InvalidArgument) as caught:
        parse_request(method, target)

    assert str(caught.value) == f"Malformed request: {method} {target}"


@pytest.mark.parametrize(
    "target", ["/v1/models/versions/1", "/v1/models/labels/stable", "/v1/models/versions/1/metadata"]
)
def test_a_path_without_a_model_says_so(target) -> None:
    """These paths match with an empty model name."""
    with pytest.raises(InvalidArgument, match=r"^Missing model name in request\.$"):
        parse_request("GET", target)


@pytest.mark.parametrize("number", ["18446744073709551615", "9223372036854775808", "9" * 5000])
def test_case_A12_a_version_beyond_int64_is_told_apart(number) -> None:
    """Such a request gets an empty body, hence its own error; no number is too long to be refused."""
    with pytest.raises(UnconvertibleVersion) as caught:
        parse_request("POST", f"/v1/models/foo/versions/{number}:regress")

    assert str(caught.value) == f"Failed to convert version: {number} to numeric."


@pytest.mark.parametrize("path", ["foo/versions/{}", "foo/versions/{}/metadata", "versions/{}"])
def test_a_version_is_read_before_a_missing_model_is_noticed(path) -> None:
    """Reading the path comes before everything that has an error in JSON."""
    with pytest.raises(UnconvertibleVersion):
        parse_request("GET", f"/v1/models/{path.format(2**63)}")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_can_be_sent_encoded(name) -> None:
    """Percent-encoding brings every name through."""
    assert parse_request("POST", f"/v1/models/{quote(name, safe='')}:predict").name == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a%zz", "a%zz"), ("100%", "100%"), ("%ff", "\udcff"), ("\udcff%41", "\udcffA"), ("%C3%A4", "ä")],
)
def test_odd_escapes_survive(text, expected) -> None:
    """What is no escape stays, and bytes that are no UTF-8 come back as the same bytes."""
    assert decoded(text) == expected


@given(st.sampled_from(["GET", "POST"]), st.text(alphabet="/:v1modelsversionslabelsmetadatapredict%2F7?", max_size=60))
def test_every_target_is_read_or_refused(method, rest) -> None:
    """No target raises anything but InvalidArgument."""
    try:
        request = parse_request(method, "/v1/models" + rest)
    except InvalidArgument:
        return
    assert request.version is None or request.label is None
