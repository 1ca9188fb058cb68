"""Load on the ledger over gRPC: what is sent, how fast it is answered, and that nothing of it was refused."""

import asyncio
import dataclasses
import functools
import itertools
import random
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc

from kobklein.wallets.v1 import ledger_pb2, ledger_pb2_grpc
from tests import wallets

ACCOUNTS: Final = 10_000
BATCH: Final = 1_000
BATCHES_IN_FLIGHT: Final = 4
SINGLES_IN_FLIGHT: Final = 64
CURRENCY: Final = "HTG"
METHOD: Final = "/kobklein.wallets.v1.LedgerService/PostTransfers"
_PATIENCE_SECONDS: Final = 60

Pair = Callable[[], tuple[str, str]]
"""Returns the addresses of a paying and of a receiving account."""
Post = Callable[[bytes], Awaitable[bytes]]


def post_over(channel: grpc.aio.Channel) -> Post:
    """Return a call of PostTransfers that leaves messages as bytes, so that the client costs as little as it can.

    Its token is new, and good for ten minutes.
    """
    call: Any = channel.unary_unary(METHOD)
    return functools.partial(call, metadata=_as_service())


def user(number: int) -> str:
    return f"user/{number}"


def uniform_over(accounts: int) -> Pair:
    """Return a choice of two accounts among the first so many."""

    def pair() -> tuple[str, str]:
        debit, credit = random.sample(range(1, accounts + 1), 2)
        return user(debit), user(credit)

    return pair


uniform: Final = uniform_over(ACCOUNTS)


def hot() -> tuple[str, str]:
    """Return an account that pays into the one account that all pay into."""
    return user(random.randint(1, ACCOUNTS)), user(0)


def request(pair: Pair, count: int) -> bytes:
    """Return a call with so many new transfers."""
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


async def batches(posts: Sequence[Post], pair: Pair, *, count: int) -> float:
    """Return transfers per second, in calls of BATCH transfers, spread over the services."""
    made = [request(pair, BATCH) for _ in range(count)]
    return BATCH * await rate(posts, made, in_flight=BATCHES_IN_FLIGHT)


async def singles(posts: Sequence[Post], pair: Pair, *, count: int) -> float:
    """Return calls per second, of one transfer each, spread over the services."""
    return await rate(posts, [request(pair, 1) for _ in range(count)], in_flight=SINGLES_IN_FLIGHT)


async def rate(posts: Sequence[Post], requests: Sequence[bytes], *, in_flight: int) -> float:
    """Return calls per second, with so many of them in flight; every transfer must have been posted."""
    waiting = iter(requests)

    async def client(post: Post) -> list[bytes]:
        return [await post(each) for each in waiting]

    start = time.perf_counter()
    async with asyncio.timeout(_PATIENCE_SECONDS):
        clients = (client(post) for post in itertools.islice(itertools.cycle(posts), in_flight))
        answers = await asyncio.gather(*clients)
    seconds = time.perf_counter() - start
    for answer in itertools.chain.from_iterable(answers):
        check(answer)
    return len(requests) / seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """How long calls took, in milliseconds."""

    p50: float
    p99: float


async def paced(post: Post, requests: Sequence[bytes], *, rate: float) -> Latency:
    """Send calls at a steady rate, whether or not the earlier ones are answered, and return how long they took.

    A call's time runs from when it was due: one that a stalled client sent late has waited as a caller would have.
    """
    start = time.perf_counter()

    async def call(each: bytes, due: float) -> tuple[float, bytes]:
        answer = await post(each)
        return time.perf_counter() - due, answer

    running = []
    for number, each in enumerate(requests):
        due = start + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        running.append(asyncio.create_task(call(each, due)))
    async with asyncio.timeout(_PATIENCE_SECONDS):
        done = await asyncio.gather(*running)
    for _, answer in done:
        check(answer)
    percentiles = statistics.quantiles((seconds * 1000 for seconds, _ in done), n=100)
    return Latency(p50=percentiles[49], p99=percentiles[98])


def check(answer: bytes) -> None:
    """Raise RuntimeError when a transfer was refused."""
    results = ledger_pb2.PostTransfersResponse.FromString(answer).results
    refused = [result.error for result in results if result.HasField("error")]
    if refused or not results:
        raise RuntimeError(f"{len(refused)} transfers refused, such as {refused[:1]}")


async def assert_balanced(channel: grpc.aio.Channel) -> None:
    """Raise RuntimeError when the ledger does not verify."""
    stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
    report = await stub.VerifyLedger(ledger_pb2.VerifyLedgerRequest(), metadata=_as_service())
    if not report.balanced:
        raise RuntimeError(f"the ledger does not balance: {report.breaks[:3]}")


def _as_service() -> tuple[tuple[str, str], ...]:
    return wallets.metadata("payments_service", "service")
