"""Long work asks whether it is still wanted, and ends when it is not."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

import pytest

from core.errors import ServingError
from core.inference.dtypes import DataType
from core.inference.giving_up import PORTION, GivenUp, giving_up_when, go_on, patiently
from core.inference.signature import Signature
from core.json import document as json_document
from core.json import elements
from core.rest import examples as rest_examples
from core.rest import predict as rest_predict
from tests.support.hostile_bodies import UNITS, hostile
from tests.support.served_models import half_plus_two, spec, with_signature

SIZE = 200_000
TOKENS_BETWEEN = 50_000
"""So many bytes of a hostile body may be read before the next question."""

QUICK = {
    "open brackets",
    "open objects",
    "one huge number",
    "one long fraction",
    "one long exponent",
    "half a word",
    "one long string",
    "escapes",
    "lone surrogates",
    "no end",
    "blanks",
    "zeros",
    "UTF-16",
    "all bytes",
}
"""Bodies of few tokens, which cost next to nothing."""


def test_nobody_needs_to_be_asked() -> None:
    """Without anybody who waits, work goes on."""
    go_on()

    assert list(patiently(range(3 * PORTION))) == list(range(3 * PORTION))


def test_work_that_is_over_ends() -> None:
    """Until the one who waits loses patience, it goes on."""
    answers = iter([False, True])

    with giving_up_when(lambda: next(answers)):
        go_on()
        with pytest.raises(GivenUp):
            go_on()
    go_on()


def test_the_innermost_who_waits_decides() -> None:
    """And afterwards the outer one again."""
    with giving_up_when(lambda: True):
        with giving_up_when(lambda: False):
            go_on()
        with pytest.raises(GivenUp):
            go_on()


def test_long_lists_ask_again_and_again() -> None:
    """Once for each portion; short ones do not ask."""
    asked = count()

    with giving_up_when(lambda: next(asked) < 0):
        assert list(patiently(range(PORTION - 1))) == list(range(PORTION - 1))
        assert next(asked) == 0
        assert list(patiently(range(2 * PORTION + 1))) == list(range(2 * PORTION + 1))
    assert next(asked) == 4


def read(body: bytes, method: str) -> None:
    """Read a body as both kinds of methods do; what it deserves does not matter."""
    strings = with_signature(Signature({"x": spec("x:0", DataType.STRING)}, {"y": spec("y:0")}))
    plans = {
        "numbers": rest_predict.plan_predict,
        "strings": rest_predict.plan_predict,
        "examples": rest_examples.plan_regress,
    }
    with suppress(ServingError):
        plans[method](strings if method == "strings" else half_plus_two(), body)


@pytest.mark.parametrize("kind", sorted(set(UNITS) - QUICK))
def test_reading_hostile_bodies_asks_often(kind: str) -> None:
    """In each of the ways in which it can be read at length."""
    body = hostile(kind, SIZE)
    asked = {method: count() for method in ("numbers", "strings", "examples")}

    for method, number in asked.items():
        with giving_up_when(lambda number=number: next(number) < 0):
            read(body, method)

    assert max(map(next, asked.values())) >= SIZE // TOKENS_BETWEEN


@pytest.mark.parametrize("kind", sorted(set(UNITS) - QUICK))
def test_reading_hostile_bodies_ends_when_it_is_asked_to(kind: str) -> None:
    """Whatever is read; no error of the request is made of it."""
    asked = count()

    def read_in_all_ways() -> None:
        with giving_up_when(lambda: next(asked) >= 1):
            for method in ("numbers", "strings", "examples"):
                read(hostile(kind, SIZE), method)

    with pytest.raises(GivenUp):
        read_in_all_ways()


def test_many_small_lists_ask_while_they_are_compared() -> None:
    """A list that does not fit is looked for one by one."""
    body = b'{"inputs": [%b[]]}' % (b"[1]," * SIZE)
    asked = count()

    with giving_up_when(lambda: next(asked) < 0):
        read(body, "numbers")

    assert next(asked) > 2 * SIZE // PORTION


def test_long_arrays_are_taken_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost between them, whether the last one is full or not."""
    monkeypatch.setattr(elements, "ELEMENTS_AT_ONCE", 3)
    for size in range(8):
        asked = count()

        with giving_up_when(lambda asked=asked: next(asked) < 0):
            document = json_document.parse_object(
                b'{"a": [%b]}' % b",".join([b"%d" % number for number in range(size)])
            )

        assert document.values == [list(range(size))]
        assert next(asked) == size // 3
