"""Version policies: from versions found to versions aspired."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.version_policy import All, Latest, Specific, VersionPolicy

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
