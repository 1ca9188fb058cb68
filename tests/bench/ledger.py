"""The ledger through gRPC against pgbench's one-transfer transactions, on the same durable server in the same run."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import postgres as embedded
from kobklein.wallets.v1 import ledger_pb2, ledger_pb2_grpc
from tests import databases, wallets

ACCOUNTS: Final = 10_000
ROUNDS: Final = 3
BATCH: Final = 1_000
BATCHES: Final = 60
BATCHES_IN_FLIGHT: Final = 4
SINGLES: Final = 4_000
SINGLES_IN_FLIGHT: Final = 64
CLIENT_COUNTS: Final = (4, 8, 16, 32)
PROBE_SECONDS: Final = 2
PGBENCH_SECONDS: Final = 3
START_SECONDS: Final = 30
CURRENCY: Final = "HTG"
HOT: Final = "user/0"
_METHOD: Final = "/kobklein.wallets.v1.LedgerService/PostTransfers"

_ACCOUNTS: Final = """
    INSERT INTO accounts (id, address, currency, balance, overdraft_limit)
    SELECT gen_random_uuid(), 'user/' || number, 'HTG', 1000000000, 0 FROM generate_series(0, {accounts}) AS number;
"""
_SCRIPT: Final = """
\\set debit random(1, {accounts})
\\set credit {credit}
BEGIN;
SELECT FROM accounts
    WHERE address IN ('user/' || :debit, 'user/' || :credit) AND currency = 'HTG'
    ORDER BY id FOR NO KEY UPDATE;
WITH debit AS (
    UPDATE accounts SET balance = balance - 1, version = version + 1, updated_time = now()
    WHERE address = 'user/' || :debit AND currency = 'HTG' RETURNING id, balance, version
), credit AS (
    UPDATE accounts SET balance = balance + 1, version = version + 1, updated_time = now()
    WHERE address = 'user/' || :credit AND currency = 'HTG' RETURNING id, balance, version
)
INSERT INTO transfers (
    id, debit_account_id, credit_account_id, amount, currency, type,
    debit_balance_after, credit_balance_after, debit_version, credit_version, created_time
)
SELECT gen_random_uuid(), debit.id, credit.id, 1, 'HTG', 'TRANSFER',
    debit.balance, credit.balance, debit.version, credit.version, now()
FROM debit, credit;
COMMIT;
"""
"""One transfer as one transaction, with all that the service records of it and in its own tables."""

_CREDITS: Final = {
    "uniform": f"1 + (:debit + random(0, {ACCOUNTS - 2})) % {ACCOUNTS}",  # Another account than the paying one.
    "hot": "0",
}

Pair = Callable[[], tuple[str, str]]


async def run() -> list[dict[str, Any]]:
    """Measure in interleaved rounds and return the medians."""
    with embedded.temporary_durable() as server, tempfile.TemporaryDirectory() as folder:
        template = databases.template(server, "wallets_service")
        with _database(server, template) as plain, _database(server, template) as own:
            baseline = Baseline(plain, Path(folder))
            async with _service(own) as channel:
                post: Any = channel.unary_unary(_METHOD)
                await _fund(post)
                figures = await _measure(baseline, post)
                await _assert_balanced(channel)
    return _rows(figures)


def _database(server: embedded.Server, template: str) -> contextlib.AbstractContextManager[databases.Database]:
    return contextlib.contextmanager(databases.copy)(server, "wallets_service", of=template)


async def _measure(baseline: "Baseline", post: Any) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, pair in (("uniform", _uniform), ("hot", _hot)):
            figures.setdefault(f"pgbench, {name}", []).append(await asyncio.to_thread(baseline.rate, name))
            batches = [_request(pair, BATCH) for _ in range(BATCHES)]
            rate = await _rate(post, batches, in_flight=BATCHES_IN_FLIGHT)
            figures.setdefault(f"batches, {name}", []).append(rate * BATCH)
            singles = [_request(pair, 1) for _ in range(SINGLES)]
            rate = await _rate(post, singles, in_flight=SINGLES_IN_FLIGHT)
            figures.setdefault(f"single calls, {name}", []).append(rate)
    return figures


def _rows(figures: dict[str, list[float]]) -> list[dict[str, Any]]:
    targets = {"batches, uniform": 1.5, "batches, hot": 6.0}
    rows = []
    for name in ("batches, uniform", "batches, hot", "single calls, uniform", "single calls, hot"):
        value = statistics.median(figures[name])
        baseline = statistics.median(figures[f"pgbench, {name.rpartition(', ')[2]}"])
        ratio, target = value / baseline, targets.get(name)
        rows.append(
            {
                "name": f"ledger: {name}",
                "value": round(value),
                "unit": "transfers/s",
                "baseline": round(baseline),
                "ratio": round(ratio, 2),
                "target": target,
                "met": target is None or ratio >= target,
            }
        )
    return rows


class Baseline:
    """pgbench on the same server, at the number of clients that suits it best."""

    def __init__(self, database: databases.Database, folder: Path) -> None:
        self._url = database.superuser_url
        self._run("psql", "--quiet", "--command", _ACCOUNTS.format(accounts=ACCOUNTS), "--command", "ANALYZE accounts")
        self._scripts = {name: folder / f"{name}.sql" for name in _CREDITS}
        for name, script in self._scripts.items():
            script.write_text(_SCRIPT.format(accounts=ACCOUNTS, credit=_CREDITS[name]))
        self._clients = {name: self._best_clients(name) for name in self._scripts}

    def rate(self, name: str) -> float:
        """Return transfers per second."""
        return self._pgbench(name, clients=self._clients[name], seconds=PGBENCH_SECONDS)

    def _best_clients(self, name: str) -> int:
        return max(CLIENT_COUNTS, key=lambda count: self._pgbench(name, clients=count, seconds=PROBE_SECONDS))

    def _pgbench(self, name: str, *, clients: int, seconds: int) -> float:
        output = self._run(
            "pgbench", "--no-vacuum", "--protocol=prepared", "--jobs=2", "--max-tries=10",
            f"--client={clients}", f"--time={seconds}", f"--file={self._scripts[name]}",
        )  # fmt: skip
        match = re.search(r"tps = ([0-9.]+)", output)
        if match is None:
            raise RuntimeError(output)
        return float(match[1])

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(embedded.program(program)), *arguments, self._url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextlib.asynccontextmanager
async def _service(database: databases.Database) -> AsyncIterator[grpc.aio.Channel]:
    """Run wallets_service as a process of its own."""
    port = embedded.free_port()
    with _process(database, port):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=START_SECONDS)
            yield channel


@contextlib.contextmanager
def _process(database: databases.Database, port: int) -> Iterator[None]:
    settings = {
        "WALLETS_AUTH": json.dumps({"hs256_secret": wallets.SECRET}),
        "WALLETS_DATABASE_URL": database.application_url,
        "WALLETS_MIGRATION_DATABASE_URL": database.owner_url,
        "WALLETS_PAGE_TOKEN_KEY": "00" * 32,
        "WALLETS_PORT": str(port),
        "WALLETS_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen([sys.executable, "-m", "wallets_service", "serve"], env={**os.environ, **settings})
    try:
        yield
    finally:
        process.terminate()
        process.wait(START_SECONDS)


async def _fund(post: Any) -> None:
    """Give every account enough to pay from."""
    deposits = [wallets.transfer("provider/bench", _user(number), 10**9) for number in range(ACCOUNTS + 1)]
    for start in range(0, len(deposits), BATCH):
        request = ledger_pb2.PostTransfersRequest(transfers=deposits[start : start + BATCH])
        _check(await post(request.SerializeToString(), metadata=wallets.AS_SERVICE), expected=len(request.transfers))


def _uniform() -> tuple[str, str]:
    debit, credit = random.sample(range(1, ACCOUNTS + 1), 2)
    return _user(debit), _user(credit)


def _hot() -> tuple[str, str]:
    return _user(random.randint(1, ACCOUNTS)), HOT


def _user(number: int) -> str:
    return f"user/{number}"


def _request(pair: Pair, count: int) -> bytes:
    transfers = [
        ledger_pb2.Transfer(
            id=str(uuid.uuid4()),
            debit_account=debit,
            credit_account=credit,
            amount=1,
            currency=CURRENCY,
            type=ledger_pb2.TRANSFER_TYPE_TRANSFER,
        )
        for debit, credit in (pair() for _ in range(count))
    ]
    return ledger_pb2.PostTransfersRequest(transfers=transfers).SerializeToString()


async def _rate(post: Any, requests: Sequence[bytes], *, in_flight: int) -> float:
    """Return calls per second, with so many of them in flight; every transfer must have been posted."""
    waiting = iter(requests)

    async def client() -> list[bytes]:
        return [await post(request, metadata=wallets.AS_SERVICE) for request in waiting]

    start = time.perf_counter()
    answers = await asyncio.gather(*(client() for _ in range(in_flight)))
    seconds = time.perf_counter() - start
    for answer in itertools.chain.from_iterable(answers):
        _check(answer)
    return len(requests) / seconds


def _check(answer: bytes, *, expected: int | None = None) -> None:
    results = ledger_pb2.PostTransfersResponse.FromString(answer).results
    refused = [result.error for result in results if result.HasField("error")]
    if refused or (expected is not None and len(results) != expected):
        raise RuntimeError(f"{len(refused)} transfers refused, such as {refused[:1]}")


async def _assert_balanced(channel: grpc.aio.Channel) -> None:
    stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
    report = await stub.VerifyLedger(ledger_pb2.VerifyLedgerRequest(), metadata=wallets.AS_SERVICE)
    if not report.balanced:
        raise RuntimeError(f"the ledger does not balance: {report.breaks[:3]}")
