"""Temporary."""
import random
import pytest
import tests.integration.test_reloads as base

REAL = random.Random

@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [991, 4711])
def test_seeds(server, base_path, seed, monkeypatch):
    monkeypatch.setattr(base.random, "Random", lambda _: REAL(seed))
    base.test_a_hundred_random_reloads_under_load_cost_no_request(server, base_path)
