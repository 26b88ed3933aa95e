"""Guards: slow hashes beside the loop, limits across reloads, and nothing of tokens anywhere."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from core.access.rights import HEALTH, INFER
from core.errors import LimitReached, Unauthenticated
from core.telemetry.metric_names import ACCESS_REFUSALS
from deployments.access import slow_hashes
from deployments.access.followed_rules import FollowedRules
from deployments.access.guard import CALLER, LocalGuard, RuledGuard
from deployments.access.peer import ELSEWHERE, Peer
from deployments.telemetry.process_metrics import METRICS
from tests.support.doors.guarded_sites import GuardedSites, bearer, client_of, eventually

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
SLOW_RULES = f"clients: {{a: {{tokens: ['{QUICK.hash('pass-word')}'], allow: [{{groups: [infer]}}]}}}}"


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[RuledGuard]:
    file = tmp_path / "access.yaml"
    file.write_text(SLOW_RULES)
    followed = FollowedRules(str(file), look_every_s=0.02)
    yield RuledGuard(followed)
    followed.close()


def shown(token: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"x-api-key", token)]


async def test_a_token_with_a_slow_hash_is_verified_once(guard: RuledGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on it is let in at once."""
    assert guard.quick_visitor(shown(b"pass-word"), ELSEWHERE) is None
    (await guard.visitor(shown(b"pass-word"), ELSEWHERE)).require(INFER.of("m"))
    monkeypatch.setattr(slow_hashes, "_fits", None)

    quick = guard.quick_visitor(shown(b"pass-word"), ELSEWHERE)

    assert quick is not None
    quick.require(INFER.of("m"))


async def test_a_token_that_was_verified_stays_known_when_the_file_changes(
    guard: RuledGuard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is not kept out by a flood just because another client was added."""
    (await guard.visitor(shown(b"pass-word"), ELSEWHERE)).require(INFER.of("m"))
    monkeypatch.setattr(slow_hashes, "_fits", None)
    (tmp_path / "access.yaml").write_text(
        SLOW_RULES[:-1] + f", b: {{tokens: ['{QUICK.hash('b')}'], allow: [{{groups: [infer]}}]}}}}"
    )
    assert await asyncio.to_thread(eventually, lambda: len(guard._followed.rules.clients) == 2)

    quick = guard.quick_visitor(shown(b"pass-word"), ELSEWHERE)

    assert quick is not None
    quick.require(INFER.of("m"))


async def test_a_wrong_token_costs_a_slow_hash_once(guard: RuledGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that repeats its mistake is no burden."""
    with pytest.raises(Unauthenticated):
        (await guard.visitor(shown(b"wrong"), ELSEWHERE)).require(INFER.of("m"))
    monkeypatch.setattr(slow_hashes, "_fits", None)

    with pytest.raises(Unauthenticated):
        (await guard.visitor(shown(b"wrong"), ELSEWHERE)).require(INFER.of("m"))


async def test_a_flood_of_tokens_to_verify_is_refused_and_does_not_hold_up_the_loop(
    guard: RuledGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few wait, one is verified at a time, and who was verified before is not touched."""
    await guard.visitor(shown(b"pass-word"), ELSEWHERE)
    at_once, most = 0, 0

    def counted(token: bytes, argon2: str) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        released.wait(10)
        at_once -= 1
        return False

    released = threading.Event()
    monkeypatch.setattr(slow_hashes, "_fits", counted)
    flood = [asyncio.create_task(guard.visitor(shown(b"guess%d" % one), ELSEWHERE)) for one in range(100)]
    while not at_once:
        await asyncio.sleep(0.001)

    assert guard.quick_visitor(shown(b"pass-word"), ELSEWHERE) is not None
    released.set()
    refused = [one.unknown for one in await asyncio.gather(*flood) if one.unknown is not None]

    assert len(refused) == 100 - slow_hashes.MOST_WAITING
    assert {one.retry_after_s for one in refused} == {1.0}
    assert most == 1


async def test_callers_that_go_leave_their_place_in_the_queue_taken(
    guard: RuledGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise calls that are opened and cancelled would start any number of verifications."""
    released = threading.Event()
    monkeypatch.setattr(slow_hashes, "_fits", lambda *_: released.wait(10) and False)
    calls = [asyncio.create_task(guard.visitor(shown(b"guess%d" % one), ELSEWHERE)) for one in range(16)]
    await asyncio.sleep(0)
    for one in calls:
        one.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    visitor = await guard.visitor(shown(b"one-more"), ELSEWHERE)
    with pytest.raises(LimitReached):
        visitor.require(INFER.of("m"))
    visitor.require(HEALTH)  # which anyone has: a probe with a token is not kept out
    released.set()
    while guard._slow._waiting:
        await asyncio.sleep(0.001)
    assert (await guard.visitor(shown(b"one-more"), ELSEWHERE)).clients == ()


async def test_requests_with_the_same_token_are_one_verification(
    guard: RuledGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first requests of a client come together."""
    verified: list[bytes] = []
    fits = slow_hashes._fits
    monkeypatch.setattr(slow_hashes, "_fits", lambda token, argon2: verified.append(token) or fits(token, argon2))

    seen = await asyncio.gather(*(guard.visitor(shown(b"pass-word"), ELSEWHERE) for _ in range(50)))

    assert {one.clients[0].name for one in seen} == {"a"}
    assert verified == [b"pass-word"]


async def test_limits_are_those_of_the_newest_file_and_keep_what_is_in_work(tmp_path: Path) -> None:
    """A reload must not let twice as much in."""
    file = tmp_path / "access.yaml"
    file.write_text("clients:\n" + client_of("a", "infer", more="    max_in_flight: 2\n"))
    followed = FollowedRules(str(file), look_every_s=0.02)
    guard = RuledGuard(followed)
    visitor = await guard.visitor(shown(b"a-token"), ELSEWHERE)

    with guard.admitted(visitor), guard.admitted(visitor):
        with pytest.raises(LimitReached), guard.admitted(visitor):
            pass
        file.write_text("clients:\n" + client_of("a", "infer", more="    max_in_flight: 3\n"))
        assert await asyncio.to_thread(eventually, lambda: followed.rules.clients[0].limits.max_in_flight == 3)
        visitor = await guard.visitor(shown(b"a-token"), ELSEWHERE)
        with guard.admitted(visitor), pytest.raises(LimitReached), guard.admitted(visitor):
            pass
    followed.close()


def test_routers_share_a_limit(tmp_path: Path) -> None:
    """Each lets in its part, because they do not ask each other."""
    file = tmp_path / "access.yaml"
    file.write_text("clients:\n" + client_of("a", "infer", more="    max_in_flight: 4\n"))
    followed = FollowedRules(str(file))
    count = [2]
    guard = RuledGuard(followed, routers=lambda: count[0])
    visitor = asyncio.run(guard.visitor(shown(b"a-token"), ELSEWHERE))

    with guard.admitted(visitor), guard.admitted(visitor), pytest.raises(LimitReached), guard.admitted(visitor):
        pass
    count[0] = 4
    visitor = asyncio.run(guard.visitor(shown(b"a-token"), ELSEWHERE))
    with guard.admitted(visitor), pytest.raises(LimitReached), guard.admitted(visitor):
        pass
    followed.close()


def test_a_token_is_in_no_log_no_text_and_no_trace(sites: GuardedSites, caplog: pytest.LogCaptureFixture) -> None:
    """Good ones and bad ones, with the access log on."""
    caplog.set_level(logging.DEBUG)
    site = sites.ruled("clients:\n" + client_of("a", "infer", "status", token="good-secret"), is_logged=True)
    bodies = []
    for token in ("good-secret", "bad-secret"):
        bodies += [
            site.ask(method, target, f"Authorization: Bearer {token}", body=b"{}").body
            for method, target in (
                ("POST", "/v1/models/m:predict"),
                ("POST", "/v2/models/x/infer"),
                ("GET", "/status.json"),
            )
        ]
        site.code("/tensorflow.serving.PredictionService/Predict", b"", bearer(token))
        site.code("/ray_model_server.Admin/GetConfig", b"", bearer(token))
    sites.file.write_text("clients: {a: {tokens: [good-secret]}}")
    assert eventually(lambda: bool(site.guard.problems))

    assert "access" in caplog.text
    assert "-secret" not in caplog.text
    assert b"-secret" not in b"".join(map(bytes, bodies))
    assert "-secret" not in str(site.guard.problems)


async def test_whoever_changes_what_is_served_is_known_by_name(tmp_path: Path) -> None:
    """The audit log has it; tokens themselves are never in it."""
    file = tmp_path / "access.yaml"
    file.write_text("clients:\n" + client_of("ops", "admin"))
    followed = FollowedRules(str(file))
    ruled, local = RuledGuard(followed), LocalGuard()
    followed.close()
    names = []
    for guard, fields, peer in (
        (ruled, shown(b"ops-token"), ELSEWHERE),
        (ruled, [], ELSEWHERE),
        (local, [], Peer(is_local=True)),
        (local, [], ELSEWHERE),
    ):
        with guard.admitted(await guard.visitor(fields, peer)):
            names.append(CALLER.get())

    assert names == ["client ops", "a request without a token", "a request from this machine", "a request"]
    assert CALLER.get() == "a request"


def test_refusals_are_counted_by_client_and_reason(sites: GuardedSites) -> None:
    """So an alert can be made of them."""
    site = sites.ruled("clients:\n" + client_of("counted", "infer"))

    def counts() -> list[float]:
        kinds = (("", "unauthenticated"), ("counted", "permission_denied"))
        return [METRICS.counter(ACCESS_REFUSALS, *kind).value for kind in kinds]

    before = counts()
    site.ask("GET", "/status.json")
    site.ask("GET", "/status.json", "X-Api-Key: counted-token")
    site.code("/ray_model_server.Admin/GetConfig")
    site.code("/ray_model_server.Admin/GetConfig", b"", bearer("counted-token"))

    assert [after - one for after, one in zip(counts(), before, strict=True)] == [2, 2]
