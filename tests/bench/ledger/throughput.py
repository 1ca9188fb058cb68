"""How many transfers the ledger posts, in batches against pgbench and one by one against a bare RPC, and how steadily.

All of it happens in interleaved rounds on one server, so that the noise of the machine hits both sides.
"""

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.bench import rows
from tests.bench.ledger import fill, load, pgbench, processes, stage

_ROUNDS: Final = 3
_BATCHES: Final = 60
_SINGLE_ROUNDS: Final = 12
_SINGLES: Final = 1_000
_LATENCY_ROUNDS: Final = 3
_PACED_SECONDS: Final = 3
_PAIRS: Final = {"uniform": load.uniform, "hot": load.hot}
_BATCH_TARGETS: Final = {"uniform": 2.0, "hot": 8.0}
_SINGLE_TARGETS: Final = {"uniform": 0.6, "hot": None}
_TAIL_TARGET: Final = 5.0

Figures = dict[str, list[float]]


async def run() -> list[dict[str, Any]]:
    """Measure, and check that the ledger still verifies."""
    past = fill.Past(load.ACCOUNTS)
    with (
        tempfile.TemporaryDirectory() as folder,
        stage.open_stage() as on,
        on.ledger(past) as plain,
        on.ledger(past) as own,
    ):
        baseline = await asyncio.to_thread(pgbench.Pgbench, plain, Path(folder))
        async with processes.service(own) as channel, processes.echo() as bare_channel:
            post, echo = load.post_over(channel), load.post_over(bare_channel)
            batches = await _batches(baseline, post)
            singles = await _singles(echo, post)
            latencies = await _latencies(post, rate=statistics.median(singles["uniform"]) / 2)
            await load.assert_balanced(channel)
    return [*_batch_rows(batches), *_single_rows(singles), _tail_row(latencies)]


async def _batches(baseline: pgbench.Pgbench, post: load.Post) -> Figures:
    figures: Figures = {}
    for _ in range(_ROUNDS):
        for name, pair in _PAIRS.items():
            figures.setdefault(f"pgbench {name}", []).append(await asyncio.to_thread(baseline.rate, name))
            figures.setdefault(name, []).append(await load.batches([post], pair, count=_BATCHES))
    return figures


async def _singles(echo: load.Post, post: load.Post) -> Figures:
    """Measure in many short rounds; the first of each side only warms it up."""
    figures: Figures = {}
    for number in range(_SINGLE_ROUNDS + 1):
        for name, target, pair in (
            ("echo", echo, load.uniform),
            *((name, post, pair) for name, pair in _PAIRS.items()),
        ):
            rate = await load.singles([target], pair, count=_SINGLES)
            if number:
                figures.setdefault(name, []).append(rate)
    return figures


async def _latencies(post: load.Post, *, rate: float) -> list[load.Latency]:
    count = int(rate * _PACED_SECONDS)
    return [
        await load.paced(post, [load.request(load.uniform, 1) for _ in range(count)], rate=rate)
        for _ in range(_LATENCY_ROUNDS)
    ]


def _batch_rows(figures: Figures) -> list[dict[str, Any]]:
    return [
        rows.at_least(
            f"ledger: batches, {name}, against pgbench",
            statistics.median(figures[name]),
            "transfers/s",
            baseline=statistics.median(figures[f"pgbench {name}"]),
            target=target,
        )
        for name, target in _BATCH_TARGETS.items()
    ]


def _single_rows(figures: Figures) -> list[dict[str, Any]]:
    return [
        rows.at_least(
            f"ledger: single calls, {name}, against a bare RPC",
            statistics.median(figures[name]),
            "calls/s",
            baseline=statistics.median(figures["echo"]),
            target=target,
        )
        for name, target in _SINGLE_TARGETS.items()
    ]


def _tail_row(latencies: list[load.Latency]) -> dict[str, Any]:
    return rows.below(
        "ledger: p99 of a single call at half load, against p50",
        statistics.median(latency.p99 for latency in latencies),
        "ms",
        baseline=statistics.median(latency.p50 for latency in latencies),
        target=_TAIL_TARGET,
    )
