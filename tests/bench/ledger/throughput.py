"""How many transfers the ledger posts, in batches against pgbench and one by one against a bare RPC, and how steadily.

All of it happens in interleaved rounds on one server, so that the noise of the machine hits both sides.
"""

import asyncio
import itertools
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
        async with processes.service(own) as service, processes.echo() as echo:
            batches = await _batches(baseline, service.post)
            singles, microseconds = await _singles(echo, service)
            latencies = await _latencies(service.post, rate=statistics.median(singles["uniform"]) / 2)
            await load.assert_balanced(service.channel)
    return [*_batch_rows(batches), *_single_rows(singles), _processor_row(microseconds), _tail_row(latencies)]


async def _batches(baseline: pgbench.Pgbench, post: load.Post) -> Figures:
    figures: Figures = {}
    for _ in range(_ROUNDS):
        for name, pair in _PAIRS.items():
            figures.setdefault(f"pgbench {name}", []).append(await asyncio.to_thread(baseline.rate, name))
            figures.setdefault(name, []).append(await load.batches([post], pair, count=_BATCHES))
    return figures


async def _singles(echo: processes.Server, service: processes.Server) -> tuple[Figures, Figures]:
    """Return the rates of many short rounds, and the server's processor time for a call in microseconds.

    The first round of each side only warms it up.
    """
    rates: Figures = {}
    microseconds: Figures = {}
    sides = (("echo", echo, load.uniform), *((name, service, pair) for name, pair in _PAIRS.items()))
    for number, (name, server, pair) in itertools.product(range(_SINGLE_ROUNDS + 1), sides):
        before = server.processor_seconds()
        rate = await load.singles([server.post], pair, count=_SINGLES)
        if number:
            rates.setdefault(name, []).append(rate)
            microseconds.setdefault(name, []).append((server.processor_seconds() - before) / _SINGLES * 1e6)
    return rates, microseconds


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


def _processor_row(microseconds: Figures) -> dict[str, Any]:
    """Return what no other process on the machine can disturb; its inverse is the ratio of the rates on a quiet one."""
    return rows.at_least(
        "ledger: processor time of a single call, against a bare RPC",
        statistics.mean(microseconds["uniform"]),
        "µs",
        baseline=statistics.mean(microseconds["echo"]),
    )


def _tail_row(latencies: list[load.Latency]) -> dict[str, Any]:
    return rows.below(
        "ledger: p99 of a single call at half load, against p50",
        statistics.median(latency.p99 for latency in latencies),
        "ms",
        baseline=statistics.median(latency.p50 for latency in latencies),
        target=_TAIL_TARGET,
    )
