"""Whether a transfer costs the same in a large ledger as in a small one."""

import contextlib
import itertools
import statistics
from collections.abc import Sequence
from typing import Any, Final

from tests.bench import rows
from tests.bench.ledger import fill, load, processes, stage

_ROUNDS: Final = 5
_BATCHES: Final = 30
_TARGET: Final = 0.8
_FEW_ACCOUNTS: Final = 10
_MANY_ACCOUNTS: Final = 100_000
_PASTS: Final = {
    "small": fill.Past(load.ACCOUNTS, transfers=100_000),
    "large": fill.Past(load.ACCOUNTS, transfers=10_000_000, sealed=True),
    "few": fill.Past(_FEW_ACCOUNTS),
    "many": fill.Past(_MANY_ACCOUNTS),
}
_PARAMETERS: Final = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
"""For all ledgers alike: a server with ten million transfers is given memory for the pages that it writes to."""


async def run() -> list[dict[str, Any]]:
    """Measure all ledgers in turn, each through a service of its own."""
    async with contextlib.AsyncExitStack() as stack:
        on = stack.enter_context(stage.open_stage(**_PARAMETERS))
        figures: dict[str, float] = {}
        for names in (("small", "large"), ("few", "many")):
            figures |= await _rates(on, names)
    return [
        _row("10,000,000 transfers, against 100,000", figures["large"], figures["small"]),
        _row("100,000 accounts, against 10", figures["many"], figures["few"]),
    ]


async def _rates(on: stage.Stage, names: Sequence[str]) -> dict[str, float]:
    figures: dict[str, list[float]] = {name: [] for name in names}
    async with contextlib.AsyncExitStack() as stack:
        servers = {}
        for name in names:
            database = stack.enter_context(on.ledger(_PASTS[name]))
            servers[name] = await stack.enter_async_context(processes.service(database))
        for number, name in itertools.product(range(_ROUNDS + 1), names):
            pair = load.uniform_over(_PASTS[name].accounts)
            rate = await load.batches([servers[name].post], pair, count=_BATCHES)
            if number:  # The first round fills the caches.
                figures[name].append(rate)
        await load.assert_balanced(servers[names[0]].channel)  # A past of another length is made in the same way.
    return {name: statistics.median(found) for name, found in figures.items()}


def _row(name: str, value: float, baseline: float) -> dict[str, Any]:
    return rows.at_least(f"ledger: batches, {name}", value, "transfers/s", baseline=baseline, target=_TARGET)
