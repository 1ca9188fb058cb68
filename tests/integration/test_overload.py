"""More card payments than can be served: the others are refused before anything is recorded, and all else goes on."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import psycopg
import pydantic
import pytest

from gateway import app, backends, comments
from kobklein import client as kobklein_client
from kobklein import errors
from kobklein.payments.v1 import payments_pb2
from kobklein.settings import AuthSettings
from tests import accounts, databases, gateways, payments, wallets

AT_A_TIME = 2
PATIENT = {"answer_seconds": 60.0, "call_lease_seconds": 90.0, "lease_seconds": 80.0}


@dataclasses.dataclass(frozen=True, slots=True)
class Busy:
    """A payments_service that takes two card payments at a time, behind a gateway, and a payer whose wallet is frozen.

    So their payments stay under way, charged and not settled, until `release`.
    """

    client: payments.Client
    http: httpx.AsyncClient
    account_id: str

    def pay(self, key: str, **headers: str) -> asyncio.Task[httpx.Response]:
        body = {"amount": "10.00", "currency": "USD", "paymentMethodId": "pm_card_visa"}
        call = self.http.post("/payments/stripe/process", json=body, headers={"idempotency-key": key, **headers})
        return asyncio.create_task(call)

    async def until_under_way(self, count: int) -> None:
        query = "SELECT 1 FROM payments WHERE step = 'SETTLE' HAVING count(*) = %s"
        await self.client.until_row(query, count)

    async def release(self) -> None:
        await accounts.unfreeze(self.client.wallets, self.account_id)


@pytest.fixture
async def busy(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> AsyncIterator[Busy]:
    auth = AuthSettings(hs256_secret=pydantic.SecretStr(wallets.SECRET))
    configured = gateways.settings(auth=auth, call_seconds=60, longest_call_seconds=60)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            payments.running(
                payments_database,
                wallets_database,
                tmp_path,
                webhooks=False,
                longest_call_seconds=60.0,
                money_path=PATIENT,
                admission={"least": AT_A_TIME, "most": AT_A_TIME, "queue_seconds": 10.0},
            )
        )
        methods = backends.methods_of("kobklein.payments")
        channel = await stack.enter_async_context(kobklein_client.channel(client.target, None, methods.values()))
        served = app.create(
            configured, [backends.of_package("payments", "kobklein.payments", channel)], texts=comments.load()
        )
        gateway = await stack.enter_async_context(gateways.running(served, configured))
        gateway.http.headers["authorization"] = f"Bearer {wallets.token(client.user, 'user')}"
        gateway.http.timeout = httpx.Timeout(60)
        await client.process(key="first")
        account = await client.wallets.account(f"user/{client.user}", "USD")
        await accounts.freeze(client.wallets, account.id)
        yield Busy(client=client, http=gateway.http, account_id=account.id)


async def test_card_payments_beyond_the_limit_are_refused_without_a_trace_and_pass_later(busy: Busy) -> None:
    held = [busy.pay(key) for key in ("held-1", "held-2")]
    await busy.until_under_way(AT_A_TIME)
    refused = await asyncio.gather(*(busy.pay(f"refused-{number}") for number in range(20)))
    assert {(answer.status_code, answer.json()["reason"]) for answer in refused} == {(503, "OVERLOADED")}
    assert all(1 <= int(answer.headers["retry-after"]) <= 30 for answer in refused)
    assert await busy.client.rows("SELECT count(*) FROM payments") == [(1 + AT_A_TIME,)]
    assert await busy.client.rows("SELECT 1 FROM idempotency_keys WHERE key LIKE 'refused%%'") == []
    assert len(await busy.client.intents()) == 1 + AT_A_TIME
    await busy.release()
    for answer in await asyncio.gather(*held):
        assert (answer.status_code, answer.json()["status"]) == (201, "COMPLETED")
    again = await busy.pay("refused-0")
    assert (again.status_code, again.json()["status"]) == (201, "COMPLETED")


async def test_whoever_repeats_a_call_with_its_key_gets_the_answer_however_many_are_refused(busy: Busy) -> None:
    held = [busy.pay(key) for key in ("held-1", "held-2")]
    await busy.until_under_way(AT_A_TIME)
    early = await busy.pay("held-1")
    assert (early.status_code, early.json()["reason"], early.headers["retry-after"]) == (
        409,
        "IDEMPOTENCY_KEY_IN_USE",
        "1",
    )
    first = await busy.client.process(key="first")
    await busy.release()
    answers = await asyncio.gather(*held)
    repeated = await busy.pay("held-1")
    assert (repeated.status_code, repeated.json(), repeated.headers["idempotency-replayed"]) == (
        201,
        answers[0].json(),
        "true",
    )
    assert first.status == payments_pb2.PAYMENT_STATUS_COMPLETED


async def test_direct_calls_meet_the_same_limit_and_reads_none(busy: Busy) -> None:
    held = [busy.pay(key) for key in ("held-1", "held-2")]
    await busy.until_under_way(AT_A_TIME)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await busy.client.process(key="direct")
    status = errors.from_rpc_error(raised.value)
    assert (status.code, status.reason, status.http_status) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 503)
    assert status.retry_after_seconds is not None
    pending = await busy.client.create()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await busy.client.confirm(pending, card="pm_card_visa")
    assert errors.from_rpc_error(raised.value).reason == "OVERLOADED"
    assert (await busy.client.get(pending)).status == payments_pb2.PAYMENT_STATUS_PENDING
    read = await busy.http.get(f"/payments/{pending.id}")
    assert (read.status_code, read.json()["status"]) == (200, "PENDING")
    await busy.release()
    await asyncio.gather(*held)
    assert (await busy.client.confirm(pending, card="pm_card_visa")).status == (payments_pb2.PAYMENT_STATUS_COMPLETED)


async def test_a_charged_payment_is_answered_before_the_time_of_the_call_is_over(busy: Busy) -> None:
    answer = await busy.pay("short", **{"grpc-timeout": "2S"})
    assert (answer.status_code, answer.json()["status"]) == (201, "PROCESSING")
    assert len(await busy.client.captured(answer.json()["id"])) == 1
    await busy.release()
    payment = await busy.client.ended(payments_pb2.Payment(id=answer.json()["id"]))
    assert payment.status == payments_pb2.PAYMENT_STATUS_COMPLETED


async def test_a_call_that_has_waited_too_long_is_refused_instead_of_recorded(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    running = payments.running(
        payments_database, wallets_database, tmp_path, webhooks=False, admission={"queue_seconds": 1e-9}
    )
    async with running as client:
        async with payments.refused("OVERLOADED"):
            await client.process(key="late")
        assert await client.rows("SELECT 1 FROM payments UNION ALL SELECT 1 FROM idempotency_keys") == []
        assert await client.intents() == []


async def test_reads_take_no_connections_of_changes(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with (
        payments.running(payments_database, wallets_database, tmp_path, webhooks=False, database_pool_size=1) as client,
        await psycopg.AsyncConnection.connect(payments_database.superuser_url) as blocking,
    ):
        payment = await client.create()
        await blocking.execute("SELECT FROM payments WHERE id = %s FOR UPDATE", (payment.id,))
        change = asyncio.create_task(client.update(payment, "description", description="rent"))
        await wallets.until_waiting(payments_database, "Lock")
        assert await client.get(payment) == payment
        await blocking.rollback()
        assert (await change).description == "rent"
