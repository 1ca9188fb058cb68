"""The ledger through gRPC against pgbench's one-transfer transactions, on the same durable server in the same run."""

import asyncio
import contextlib
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
PGBENCH_SECONDS: Final = 4
START_SECONDS: Final = 30
CURRENCY: Final = "HTG"
HOT: Final = "user/0"
_METHOD: Final = "/kobklein.wallets.v1.LedgerService/PostTransfers"

_TABLES: Final = """
    CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 50);
    CREATE TABLE transfers (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        debit_account_id integer NOT NULL,
        credit_account_id integer NOT NULL,
        amount bigint NOT NULL,
        created_time timestamptz NOT NULL DEFAULT now()
    );
    INSERT INTO accounts SELECT id, 1000000000 FROM generate_series(0, {accounts}) AS id;
"""
_SCRIPT: Final = """
\\set debit random(1, {accounts})
\\set credit {credit}
BEGIN;
INSERT INTO transfers (debit_account_id, credit_account_id, amount) VALUES (:debit, :credit, 1);
UPDATE accounts SET balance = balance - 1 WHERE id = :debit;
UPDATE accounts SET balance = balance + 1 WHERE id = :credit;
COMMIT;
"""
"""The leanest one-transfer transaction there is: no replay check, no history, the contended row last."""

Pair = Callable[[], tuple[str, str]]


async def run() -> list[dict[str, Any]]:
    """Measure in interleaved rounds and return the medians."""
    with embedded.temporary_durable() as server, tempfile.TemporaryDirectory() as folder:
        baseline = Baseline(server, Path(folder))
        async with _service(server) as channel:
            post = channel.unary_unary(_METHOD)
            await _fund(post)
            figures = await _measure(baseline, post)
            await _assert_balanced(channel)
    return _rows(figures)


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

    def __init__(self, server: embedded.Server, folder: Path) -> None:
        self._server = server
        server.create_database("baseline", owner=embedded.SUPERUSER)
        self._run("psql", "--quiet", "--command", _TABLES.format(accounts=ACCOUNTS))
        self._scripts = {"uniform": folder / "uniform.sql", "hot": folder / "hot.sql"}
        self._scripts["uniform"].write_text(_SCRIPT.format(accounts=ACCOUNTS, credit=f"random(1, {ACCOUNTS})"))
        self._scripts["hot"].write_text(_SCRIPT.format(accounts=ACCOUNTS, credit="0"))
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
        url = self._server.url(database="baseline")
        command = [str(embedded.program(program)), *arguments, url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextlib.asynccontextmanager
async def _service(server: embedded.Server) -> AsyncIterator[grpc.aio.Channel]:
    """Run wallets_service as a process of its own on a fresh database."""
    template = databases.template(server, "wallets_service")
    for database in databases.copy(server, "wallets_service", of=template):
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
    answers: list[bytes] = []

    async def client() -> None:
        for request in waiting:
            answers.append(await post(request, metadata=wallets.AS_SERVICE))

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(in_flight)))
    seconds = time.perf_counter() - start
    for answer in answers:
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
