"""Two replicas of the service on one database against one: as fast together, and the ledger verifies afterwards."""

import statistics
from collections.abc import Sequence
from typing import Any, Final

from tests.bench import rows
from tests.bench.ledger import fill, load, processes, stage

_ROUNDS: Final = 4
_BATCHES: Final = 40
_SINGLES: Final = 1_500
_TARGET: Final = 1.0


async def run() -> list[dict[str, Any]]:
    """Measure one and both in turn, with the same number of calls in flight altogether."""
    figures: dict[str, list[float]] = {}
    with stage.open_stage() as on, on.ledger(fill.Past(load.ACCOUNTS)) as database:
        async with processes.service(database) as first, processes.service(database) as second:
            posts = [first.post, second.post]
            for number in range(_ROUNDS + 1):
                for name, used in (("one", posts[:1]), ("two", posts)):
                    found = await _rates(used)
                    if number:  # The first round warms up.
                        for kind, rate in found.items():
                            figures.setdefault(f"{name} {kind}", []).append(rate)
            await load.assert_balanced(first.channel)
    return [
        rows.at_least(
            f"ledger: {kind}, two replicas against one",
            statistics.median(figures[f"two {kind}"]),
            unit,
            baseline=statistics.median(figures[f"one {kind}"]),
            target=_TARGET,
        )
        for kind, unit in (("batches", "transfers/s"), ("single calls", "calls/s"))
    ]


async def _rates(posts: Sequence[load.Post]) -> dict[str, float]:
    return {
        "batches": await load.batches(posts, load.uniform, count=_BATCHES),
        "single calls": await load.singles(posts, load.uniform, count=_SINGLES),
    }
