"""Version policies: from versions found to versions aspired."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.version_policy import All, Latest, PolicyFailed, Specific, VersionPolicy, registered_policy
from examples.extension.example_extension.major_versions import NewestOfEachMajor

FOUND = frozenset({1, 2, 3, 5, 8, 13})
versions = st.frozensets(st.integers(0, 2**63 - 1))


@pytest.mark.parametrize(
    ("policy", "found", "aspired"),
    [
        pytest.param(Latest(), {42, 17}, {42}, id="case_K5_default_takes_the_highest"),
        pytest.param(Specific(frozenset({17, 30})), {42, 17, 30}, {17, 30}, id="case_K8_specific_takes_the_listed"),
        pytest.param(Latest(0), {42, 17}, {42}, id="case_K11_count_zero_counts_as_one"),
        pytest.param(Latest(2), FOUND, {13, 8}, id="case_K14_latest_two"),
        pytest.param(Specific(frozenset({2, 5})), FOUND, {2, 5}, id="case_K14_switch_to_specific"),
        pytest.param(Latest(), {20170111173521}, {20170111173521}, id="case_K16_timestamps_are_versions"),
        pytest.param(Latest(9), {1, 2}, {1, 2}, id="fewer_versions_than_wanted"),
        pytest.param(Specific(frozenset({7})), {1, 2}, set(), id="a_listed_version_may_be_missing"),
        pytest.param(Specific(frozenset()), {1, 2}, set(), id="an_empty_list_serves_nothing"),
        pytest.param(All(), FOUND, FOUND, id="all"),
    ],
)
def test_policy_selects_its_versions(policy: VersionPolicy, found: set[int], aspired: set[int]) -> None:
    """Each policy picks by number alone, as TensorFlow Serving does."""
    assert policy.select(frozenset(found)) == aspired


@given(versions, st.integers(0, 5))
def test_latest_takes_the_highest_numbers_and_no_more(found: frozenset[int], count: int) -> None:
    """Nothing that is left out is higher than anything taken."""
    taken = Latest(count).select(found)

    assert len(taken) == min(max(count, 1), len(found))
    assert all(left < right for left in found - taken for right in taken)


class Odd:
    """Serves odd versions; `fault` is what goes wrong instead."""

    def __init__(self, least: int = 0, fault: object = None) -> None:
        self.least = least
        self.fault = fault

    def select(self, found: frozenset[int]) -> Any:
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault if self.fault is not None else [one for one in found if one % 2 and one >= self.least]


def test_a_registered_policy_selects() -> None:
    """What it returns may be any collection of versions that it was offered."""
    assert registered_policy("odd", {"least": 5}, Odd).select(FOUND) == {5, 13}


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (ValueError("seven"), "version policy odd failed: ValueError: seven"),
        ({1, 4, 99}, "version policy odd chose 4, 99, which it was not offered"),
        (3, "version policy odd failed: TypeError: 'int' object is not iterable"),
        ([[1]], "version policy odd failed: TypeError: unhashable type: 'list'"),
        (["1", 2.5], "version policy odd failed: TypeError"),
        ("12", "version policy odd chose 1, 2, which it was not offered"),
    ],
)
def test_a_registered_policy_that_fails_says_so(fault: object, text: str) -> None:
    """Nothing else escapes from code of others."""
    with pytest.raises(PolicyFailed) as caught:
        registered_policy("odd", {"fault": fault} if fault == 3 else {}, lambda **_: Odd(fault=fault)).select(FOUND)

    assert str(caught.value).startswith(text)


def test_equal_values_are_the_versions_that_were_offered() -> None:
    """`True` equals 1; what goes on is the number."""
    (one,) = registered_policy("odd", {}, lambda: Odd(fault=[True])).select(FOUND)

    assert type(one) is int


@pytest.mark.parametrize(
    ("arguments", "make", "text"),
    [
        ({"most": 3}, Odd, "version policy odd refuses its arguments: TypeError: "),
        ({}, lambda: 1 / 0, "version policy odd refuses its arguments: ZeroDivisionError: division by zero"),
        ({}, dict, "version policy odd is a dict without a method select"),
    ],
)
def test_arguments_may_be_refused(arguments: dict[str, object], make: Any, text: str) -> None:
    """Whatever the maker raises or returns."""
    with pytest.raises(PolicyFailed) as caught:
        registered_policy("odd", arguments, make)

    assert str(caught.value).startswith(text)


def test_registered_policies_are_equal_by_name_and_arguments() -> None:
    """A file that is read again changes nothing, in whichever order it has the arguments."""
    first, second = (registered_policy("odd", one, Odd) for one in ({"least": 1, "fault": 2}, {"fault": 2, "least": 1}))

    assert first == second
    assert hash(first) == hash(second)
    assert first != registered_policy("odd", {"least": 1}, Odd)
    assert first != registered_policy("even", {"least": 1, "fault": 2}, Odd)


def test_a_registered_policy_travels_without_code_of_its_package() -> None:
    """Routers and replicas show it; only the watcher asks it."""
    policy = registered_policy("odd", {"least": 5}, Odd)
    data = pickle.dumps(policy)
    sent = pickle.loads(data)

    assert b"Odd" not in data
    assert sent == policy
    with pytest.raises(PolicyFailed, match="version policy odd is not loaded in this process"):
        sent.select(FOUND)


POLICIES: dict[str, VersionPolicy] = {
    "latest": Latest(2),
    "all": All(),
    "specific": Specific(frozenset({1, 8})),
    "registered": registered_policy("odd", {}, Odd),
    "example": NewestOfEachMajor(digits=1),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@given(found=versions)
def test_the_contract_of_policies(policy: VersionPolicy, found: frozenset[int]) -> None:
    """Every policy selects among what it is offered, answers the same again, and takes nothing for an answer."""
    selected = policy.select(found)

    assert selected <= found
    assert policy.select(found) == selected
    assert policy.select(frozenset()) == frozenset()
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert hash(policy) == hash(pickle.loads(pickle.dumps(policy)))
