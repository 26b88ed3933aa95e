"""The document of a replay, which `compare --json` prints; its keys are described in docs/compare.md."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.delivery.mirror_counts import L2_EDGES, MirrorCounts, OutputCounts
from core.replay.latencies import Latencies
from core.replay.recorded_requests import NotReplayed
from core.replay.replay_tally import ReplayTally

SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
MOST_ERRORS: Final = 20
BEYOND_CHANCE: Final = 3.0
"""So many standard deviations more than chance alone makes are a difference."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReplayedPair:
    """What a replay compared: a model's old and new version, the files of the requests, and their signatures' problems.

    `allowed_outside` is the share of pairs that may be outside of the tolerance, beyond those that chance makes.
    """

    model: str
    old: int
    new: int
    server: str
    files: Sequence[str]
    signature_problems: tuple[str, ...] = ()
    allowed_outside: float = 0.0


def replay_document(pair: ReplayedPair, tally: ReplayTally, left_out: NotReplayed, stopped: str = "") -> Json:
    """Return the document; `stopped` says why requests of the file were not replayed that could have been."""
    counts, tolerance = tally.counts, tally.tolerance
    return {
        "model": pair.model,
        "old": str(pair.old),
        "new": str(pair.new),
        "server": pair.server,
        "requests": {
            "files": list(pair.files),
            "replayed": tally.requests,
            "left_out": left_out.count,
            "left_out_because": left_out.example or None,
            "ended": left_out.ended or stopped or None,
        },
        **_verdict(pair, tally),
        "signature_problems": list(pair.signature_problems),
        "tolerance": {**tolerance._asdict(), "allowed_outside": pair.allowed_outside},
        "results": {**_results(counts), "old_failed": tally.old_failed, "both_failed": tally.both_failed},
        "noise": {"old": _results(tally.noise), "new": _results(tally.new_noise)},
        "structural_because": counts.reason or None,
        "outputs": _outputs(tally),
        "latency": {"old": _latency(tally.old_latency), "new": _latency(tally.new_latency)},
        "worst": [{"request": one.request, "result": one.result.name.lower(), "text": one.text} for one in tally.worst],
        "errors": _errors(pair, tally),
    }


def _verdict(pair: ReplayedPair, tally: ReplayTally) -> Json:
    different = list(_differences(pair, tally))
    if different:
        return {"verdict": "different", "because": different}
    if tally.counts.compared:
        return {"verdict": "same", "because": []}
    return {"verdict": "unknown", "because": ["no request was answered by both versions"]}


def _differences(pair: ReplayedPair, tally: ReplayTally) -> Iterator[str]:
    """Yield why the versions are different: what is more than the old one differs from itself."""
    counts, noise = tally.counts, tally.noise
    for text, count, by_chance in (
        ("have other outputs, types or shapes", counts.structural, noise.structural),
        (f"fail in {pair.new} alone", counts.failed, noise.failed),
    ):
        if count > by_chance + BEYOND_CHANCE * math.sqrt(by_chance):
            yield f"{_of(count, tally.requests)} {text}"
    allowed = noise.outside + BEYOND_CHANCE * math.sqrt(noise.outside) + pair.allowed_outside * counts.pairs
    if counts.outside > allowed:
        beside = f", {noise.outside} by chance" if noise.outside else ""
        itself = f"; {pair.new} differs from itself as well" if tally.new_noise.outside > noise.outside else ""
        yield f"{_of(counts.outside, counts.pairs)} are outside of the tolerance{beside}{itself}"


def _of(count: int, all_of_them: int) -> str:
    return f"{count:,} of {all_of_them:,} answers"


def _results(counts: MirrorCounts) -> Json:
    return {
        "identical": counts.identical,
        "within": counts.within,
        "outside": counts.outside,
        "structural": counts.structural,
        "failed": counts.failed,
    }


def _errors(pair: ReplayedPair, tally: ReplayTally) -> list[Json]:
    return [
        {"version": str(pair.new if one.is_new else pair.old), "code": one.code.name, "text": one.text, "count": count}
        for one, count in tally.errors.most_common(MOST_ERRORS)
    ]


def _outputs(tally: ReplayTally) -> list[Json]:
    """Return the outputs that differ, those first that differ most; names that only chance changes are among them."""
    sums = {"": tally.counts, "old": tally.noise, "new": tally.new_noise}
    names = dict.fromkeys(name for counts in sums.values() for name in counts.outputs)
    found: list[Json] = []
    for name in names:
        one = {key: _output(counts.outputs.get(name, OutputCounts()), counts.pairs) for key, counts in sums.items()}
        found.append({"name": name, **one.pop(""), "noise": one})
    return sorted(found, key=lambda one: (-one["outside"], -one["flips"], -one["different"], one["name"]))


def _output(counts: OutputCounts, pairs: int) -> Json:
    return {
        "pairs": pairs,
        "different": counts.pairs,
        "outside": counts.outside,
        "flips": counts.flips,
        "flipped_rows": counts.flipped_rows,
        "not_finite": counts.not_finite,
        "largest": counts.largest,
        "relative_l2": {
            "buckets": [pairs - counts.pairs, *counts.l2, *[0] * (len(L2_EDGES) + 1 - len(counts.l2))],
            **{name: _distance(counts, pairs, share) for name, share in SHARES.items()},
        },
    }


def _distance(counts: OutputCounts, pairs: int, share: float) -> float | None:
    """Return the edge below which the distances of a share of the pairs are; None where it is beyond all edges."""
    seen = pairs - counts.pairs
    if seen >= share * pairs:
        return 0.0
    for edge, count in zip(L2_EDGES, counts.l2, strict=False):
        seen += count
        if seen >= share * pairs:
            return edge
    return None


def _latency(latencies: Latencies) -> Json | None:
    if not latencies.count:
        return None
    quantiles = {f"{name}_s": latencies.quantile_s(share) for name, share in SHARES.items()}
    steps = [[edge_s, count] for edge_s, count in latencies.steps()]
    return {
        "calls": latencies.count,
        "mean_s": latencies.mean_s,
        **quantiles,
        "max_s": latencies.longest_s,
        "steps": steps,
    }
