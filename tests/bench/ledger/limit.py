"""What share of the speed of PostgreSQL alone the ledger reaches, with the same statements in the same order.

The statements of a load are recorded once. Then, in interleaved rounds, they are replayed on a fresh copy of the
database they were made on, and a load like it goes to a service on another copy.
"""

import asyncio
import statistics
from typing import Any, Final

import psycopg

from tests import databases, wallets
from tests.bench import rows
from tests.bench.ledger import fill, load, processes, replay, stage

_ROUNDS: Final = 5
_BATCHES: Final = 40
_TARGET: Final = 0.8


async def run() -> list[dict[str, Any]]:
    """Record once, then measure both sides."""
    limits, rates = [], []
    with stage.open_stage() as on, on.ledger(fill.Past(load.ACCOUNTS)) as origin:
        name = origin.superuser_url.rpartition("/")[2]
        with on.copy(name) as recorded:
            recording = await _record(recorded)
        with on.copy(name) as own:
            async with processes.service(own) as server:
                await load.batches([server.post], load.uniform, count=_BATCHES // 4)
                for _ in range(_ROUNDS):
                    with on.copy(name) as copy:
                        limits.append(await asyncio.to_thread(_replayed, recording, copy))
                    rates.append(await load.batches([server.post], load.uniform, count=_BATCHES))
    return [
        rows.at_least(
            "ledger: batches, uniform, against their SQL alone",
            statistics.median(rates),
            "transfers/s",
            baseline=statistics.median(limits),
            target=_TARGET,
        )
    ]


def _replayed(recording: replay.Recording, database: databases.Database) -> float:
    """Return the transfers per second of a replay; raises RuntimeError when it did not post what was recorded."""
    seconds = replay.seconds(recording, database)
    with psycopg.connect(database.superuser_url) as connection:
        (posted,) = connection.execute("SELECT count(*) FROM transfers WHERE type = 'TRANSFER'").fetchone() or (0,)
    if posted != _BATCHES * load.BATCH:
        raise RuntimeError(f"{posted} transfers replayed of {_BATCHES * load.BATCH}")
    return _BATCHES * load.BATCH / seconds


async def _record(database: databases.Database) -> replay.Recording:
    """Return what the service sends for a load, made by the same service in this process."""
    with replay.recorded() as recordings:
        async with wallets.running(database) as client:
            await load.batches([load.post_over(client.channel)], load.uniform, count=_BATCHES)
    (recording,) = (each for each in recordings if each.writes)
    return recording
