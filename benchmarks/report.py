"""Figures of all rounds as Markdown, with the budgets beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load import Sample


@dataclass(frozen=True, slots=True)
class Figures:
    """One slice: one contender, one workload, some clients, in one round."""

    workload: str
    clients: int
    contender: str
    round: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    way_cpu_ms: float
    client_busy: float
    wrong: int
    first_wrong: str

    @classmethod
    def of(cls, sample: Sample, cpu_s: tuple[float, float], **where: object) -> Figures:
        """Return a slice's figures; `cpu_s` has the time of all processes, and of those that requests pass through."""
        answers = len(sample.latency_s)
        return cls(
            **where,  # type: ignore[arg-type]
            rate=sample.rate,
            p50_ms=sample.percentile_ms(50),
            p99_ms=sample.percentile_ms(99),
            cpu_ms=cpu_s[0] * 1e3 / answers if answers else math.nan,
            way_cpu_ms=cpu_s[1] * 1e3 / answers if answers else math.nan,
            client_busy=sample.client_cpu_s / sample.seconds,
            wrong=sample.wrong,
            first_wrong=sample.first_wrong,
        )


Metric = Callable[[Figures], float]


def _rate(one: Figures) -> float:
    return one.rate


def _p50(one: Figures) -> float:
    return one.p50_ms


def _cpu(one: Figures) -> float:
    return one.cpu_ms


def _way_cpu(one: Figures) -> float:
    return one.way_cpu_ms


BEFORE = "ours@"
"""Stands for a contender that is this project at another revision."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on ours ÷ peer (or on ours alone, without peer) in one workload.

    `forms` are the workloads in which the peers are asked, where those are others; the best of all is compared with.
    """

    text: str
    workload: str
    clients: tuple[int, ...]
    metric: Metric
    peer: str
    limit: float
    is_floor: bool = True
    forms: tuple[str, ...] = ()

    @property
    def rivals(self) -> list[tuple[str, str]]:
        """The workloads and contenders that ours is compared with."""
        return [(form, peer) for form in self.forms or (self.workload,) for peer in self.peer.split(",") if peer]

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.is_floor else value <= self.limit


V2_FORMS = ("image-v2", "image-v2-binary", "image-v2-grpc")

BUDGETS = (
    Budget("REST tiny, requests/s ÷ FastAPI+TF", "tiny", (16,), _rate, "fastapi", 5.0),
    Budget("REST tiny, requests/s ÷ FastAPI+TF", "tiny", (64,), _rate, "fastapi", 5.5),
    Budget("REST tiny, requests/s ÷ over Serve's handles", "tiny", (16, 64), _rate, "handles", 5.0),
    Budget("REST tiny, requests/s ÷ uvicorn echo", "tiny", (16, 64), _rate, "uvicorn", 0.3),
    Budget("REST tiny, p50 ÷ FastAPI+TF", "tiny", (1,), _p50, "fastapi", 0.6, is_floor=False),
    Budget("gRPC tiny, requests/s ÷ grpc.aio echo", "tiny-grpc", (16,), _rate, "grpc", 1.0),
    Budget("gRPC tiny, requests/s ÷ grpc.aio echo", "tiny-grpc", (64,), _rate, "grpc", 1.2),
    Budget("gRPC tiny, requests/s ÷ Serve's gRPC port", "tiny-grpc", (16, 64), _rate, "servedoor", 1.5),
    Budget("REST python servable, requests/s ÷ LitServe", "python", (16,), _rate, "litserve", 6.0),
    Budget("image as JSON, CPU ms a request", "image", (1,), _cpu, "", 8.0, is_floor=False),
    Budget("v2 REST tiny, requests/s ÷ our v1", "tiny-v2", (16,), _rate, "ours", 0.95, forms=("tiny",)),
    Budget("v2 gRPC tiny, requests/s ÷ our v1", "tiny-v2-grpc", (16,), _rate, "ours", 0.95, forms=("tiny-grpc",)),
    *(
        Budget(f"v2 image, requests/s ÷ best of {peer}", "image-v2-binary", (16,), _rate, peer, 4.0, forms=V2_FORMS)
        for peer in ("mlserver", "kserve", "mlserver-numpy", "kserve-numpy")
    ),
    Budget("REST tiny, CPU ÷ before", "tiny", (16,), _way_cpu, BEFORE, 0.60, is_floor=False),
    Budget("REST tiny, CPU ÷ before", "tiny", (64,), _way_cpu, BEFORE, 0.55, is_floor=False),
    Budget("gRPC tiny, CPU ÷ before", "tiny-grpc", (16,), _way_cpu, BEFORE, 0.65, is_floor=False),
    Budget("gRPC tiny, CPU ÷ before", "tiny-grpc", (64,), _way_cpu, BEFORE, 0.58, is_floor=False),
    Budget("image as JSON, CPU ÷ before", "image", (1,), _way_cpu, BEFORE, 0.7, is_floor=False),
    Budget("image as JSON, requests/s ÷ FastAPI+TF", "image", (1,), _rate, "fastapi", 12.0),
    Budget("ResNet50, requests/s ÷ in-process", "resnet-grpc", (1, 4), _rate, "inprocess", 0.97),
)


class Report:
    """All slices of a run."""

    def __init__(self, figures: list[Figures], labels: dict[str, str]) -> None:
        self._figures = figures
        self._labels = labels

    def _slices(self, workload: str, clients: int, contender: str) -> list[Figures]:
        wanted = (workload, clients, contender)
        return [one for one in self._figures if (one.workload, one.clients, one.contender) == wanted]

    def ratio(
        self, workload: str, clients: int, rivals: Sequence[tuple[str, str]], metric: Metric = _rate
    ) -> float | None:
        """Return the median over the rounds of ours ÷ the best rival within a round; without rivals, of ours."""
        ours = self._slices(workload, clients, "ours")
        if not rivals:
            return median(metric(one) for one in ours) if ours else None
        theirs = [
            found for form, peer in rivals for one in self._named(peer) if (found := self._slices(form, clients, one))
        ]
        best = [max(map(metric, one)) for one in zip(*theirs, strict=False)]
        ratios = [metric(mine) / peer for mine, peer in zip(ours, best, strict=False) if peer]
        return median(ratios) if ratios else None

    def _named(self, peer: str) -> list[str]:
        return [one for one in self._labels if one == peer or (peer == BEFORE and one.startswith(BEFORE))]

    def table(self) -> Iterator[str]:
        yield (
            "| workload | clients | contender | requests/s | p50 ms | p99 ms | CPU ms/request | on the way | wrong "
            "| ours ÷ it |"
        )
        yield "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|"
        for workload, clients, contender in dict.fromkeys(
            (one.workload, one.clients, one.contender) for one in self._figures
        ):
            slices = self._slices(workload, clients, contender)
            middle = [
                median(metric(one) for one in slices)
                for metric in (_rate, _p50, lambda one: one.p99_ms, _cpu, _way_cpu)
            ]
            ratio = self.ratio(workload, clients, [(workload, contender)])
            cells = [workload, clients, self._labels[contender], f"{middle[0]:,.0f}"]
            cells += [f"{value:.2f}" for value in middle[1:]]
            cells += [sum(one.wrong for one in slices), "" if ratio is None else f"{ratio:.2f}"]
            yield _row(cells)

    def budgets(self) -> Iterator[str]:
        yield "| budget | clients | wanted | measured | |"
        yield "|---|--:|--:|--:|---|"
        for budget in BUDGETS:
            wanted = f"{'≥' if budget.is_floor else '≤'} {budget.limit:g}"
            for clients in budget.clients:
                value = self.ratio(budget.workload, clients, budget.rivals, budget.metric)
                if value is not None:
                    verdict = "met" if budget.is_met(value) else "**missed**"
                    yield _row([budget.text, clients, wanted, f"{value:.2f}", verdict])

    def remarks(self) -> Iterator[str]:
        """Say what makes figures doubtful: wrong answers, and clients that were the bottleneck."""
        for one in self._figures:
            if one.wrong:
                where = f"{self._labels[one.contender]}, {one.workload}, {one.clients} clients, round {one.round}"
                yield f"- wrong: {where}: {one.wrong}, the first: {one.first_wrong}"
        busy = {f"{self._labels[one.contender]}, {one.workload}" for one in self._figures if one.client_busy > 0.9}
        if busy:
            yield f"- the load's own process was the bottleneck (over 90 % of a core): {'; '.join(sorted(busy))}"


def _row(cells: list[object]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
