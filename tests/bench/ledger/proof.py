"""How fast transfers are sealed and the whole ledger is verified, and how long one waits for its seal under load."""

import asyncio
import time
from typing import Any, Final

import psycopg

from tests.bench import rows
from tests.bench.ledger import fill, load, processes, stage
from wallets_service.repository import seals

_PAST: Final = fill.Past(load.ACCOUNTS, transfers=300_000)
_BATCHES: Final = 150
_LEAST_VERIFIED: Final = 20_000
"""How many transfers a second have to be verified."""
_LONGEST_WAIT_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 300
_HASH: Final = "SELECT count(sha256(convert_to(t::text, 'UTF8'))) FROM transfers t"
_SEALING: Final = """
    SELECT extract(epoch FROM max(sealed_time) - min(sealed_time))::float8,
           sum(transfer_count) FILTER (WHERE number > 1)
    FROM seals
"""


async def run() -> list[dict[str, Any]]:
    """Seal a past and verify it; then post into it, and look how far the chain is behind."""
    with stage.open_stage() as on, on.ledger(_PAST) as own, psycopg.connect(own.superuser_url, autocommit=True) as look:
        hashing = _hashing(look)
        async with processes.service(own) as service:
            sealing = await _sealing(look)
            verification = await _verification(service, look)
            wait = await _longest_wait(service, look)
            await load.assert_balanced(service.channel)
    alone = "against hashing every row in PostgreSQL alone"
    return [
        rows.at_least(f"ledger: sealing, {alone}", sealing, "transfers/s", baseline=hashing),
        rows.at_least(f"ledger: verification, {alone}", verification, "transfers/s", baseline=hashing),
        rows.at_least(
            "ledger: verification, against the least that is asked of it",
            verification,
            "transfers/s",
            baseline=_LEAST_VERIFIED,
            target=1.0,
        ),
        rows.below(
            "ledger: longest wait for a seal under a load of batches, against what is allowed",
            wait,
            "s",
            baseline=_LONGEST_WAIT_SECONDS,
            target=1.0,
        ),
    ]


def _hashing(look: psycopg.Connection) -> float:
    """Return how many transfers a second one process of the server reads and hashes by itself."""
    look.execute("SET max_parallel_workers_per_gather = 0")
    start = time.perf_counter()
    (count,) = look.execute(_HASH).fetchone() or (0,)
    return float(count / (time.perf_counter() - start))


async def _sealing(look: psycopg.Connection) -> float:
    """Wait until the past is sealed, and return how many transfers a second were, by the times of the seals."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while seals.waiting_seconds(look):  # noqa: ASYNC110  # rows set no event
            await asyncio.sleep(_LOOK_SECONDS)
    seconds, sealed = look.execute(_SEALING).fetchone() or (0, 0)
    return float(sealed / seconds)


async def _verification(service: processes.Server, look: psycopg.Connection) -> float:
    (count,) = look.execute("SELECT count(*) FROM transfers").fetchone() or (0,)
    start = time.perf_counter()
    await load.assert_balanced(service.channel)
    return float(count / (time.perf_counter() - start))


async def _longest_wait(service: processes.Server, look: psycopg.Connection) -> float:
    """Return the greatest age of the first transfer without a seal, looked at again and again while batches come."""
    posting = asyncio.create_task(load.batches([service.post], load.uniform, count=_BATCHES))
    longest = 0.0
    while not posting.done():
        longest = max(longest, await asyncio.to_thread(seals.waiting_seconds, look))
        await asyncio.sleep(_LOOK_SECONDS)
    await posting
    return longest
