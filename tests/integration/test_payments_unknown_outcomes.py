"""What becomes of a payment when the provider, the ledger or this process itself fails in the middle."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog.testing

from deploy.local.postgres import Server
from kobklein.payments.v1 import payments_pb2
from kobklein.wallets.v1 import ledger_pb2, ledger_pb2_grpc
from tests import databases, payments, waiting
from tests.payments import refused

PROCESSING = payments_pb2.PAYMENT_STATUS_PROCESSING
COMPLETED = payments_pb2.PAYMENT_STATUS_COMPLETED
FAILED = payments_pb2.PAYMENT_STATUS_FAILED


@pytest.fixture(scope="module")
async def fresh(
    postgres: Server, payments_template: str, wallets_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[], Awaitable[payments.Client]]]:
    """A service whose SDK repeats nothing by itself, and that no webhook reaches."""
    templates, folder = (payments_template, wallets_template), tmp_path_factory.mktemp("keys")
    async with payments.shared(postgres, templates, folder, webhooks=False, stripe={"retries": 0}) as fresh:
        yield fresh


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


@pytest.mark.parametrize("kind", ["drop_after_success", "rate_limit_429", "conflict_409"])
async def test_an_unknown_outcome_is_unavailable_and_is_resolved_without_a_second_charge(
    client: payments.Client, kind: str
) -> None:
    await client.fault(kind, method="POST", count=2)
    payment = await client.unresolved(client.process(key="k"))
    ended = await client.ended(payment)
    assert ended.status == COMPLETED
    assert await client.process(key="k") == ended
    assert await client.captured() == [10_000]
    assert await client.balance() == 10_000


async def test_an_answer_500_after_the_charge_is_found_out(client: payments.Client) -> None:
    await client.fault("error_500_after_success", method="POST", count=1)
    payment = await client.unresolved(client.process())
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.captured() == [10_000]


async def test_an_answer_500_without_a_charge_is_asked_again(client: payments.Client) -> None:
    await client.fault("error_500", method="POST", count=1)
    payment = await client.unresolved(client.process())
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.captured() == [10_000]


async def test_a_provider_that_does_not_answer_in_time_is_unavailable(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database,
        wallets_database,
        tmp_path,
        webhooks=False,
        stripe={"retries": 0},
        money_path={"provider_seconds": 0.5},
    ) as client:
        await client.fault("delay", delay_seconds=2.0, count=1)
        payment = await client.unresolved(client.process())
        assert (await client.ended(payment)).status == COMPLETED
        assert await client.captured() == [10_000]


async def test_a_provider_that_is_still_being_asked_leaves_the_payment_processing(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database,
        wallets_database,
        tmp_path,
        webhooks=False,
        stripe={"retries": 0},
        money_path={"answer_seconds": 0.05},
    ) as client:
        await client.fault("delay", delay_seconds=3.0, count=1)
        payment = await client.process()
        assert payment.status == PROCESSING
        assert (await client.ended(payment)).status == COMPLETED
        assert await client.captured() == [10_000]


async def test_a_key_that_the_provider_refuses_loses_no_payment(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database, wallets_database, tmp_path, webhooks=False, stripe={"secret_key": "sk_test_wrong"}
    ) as client:
        payment = await client.unresolved(client.process())
        assert payment.status == PROCESSING
    async with payments.running(payments_database, wallets_database, tmp_path, webhooks=False) as client:
        assert (await client.ended(payment)).status == COMPLETED


async def test_once_the_providers_key_is_too_old_it_is_asked_what_it_holds(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database,
        wallets_database,
        tmp_path,
        webhooks=False,
        stripe={"retries": 0},
        money_path={"provider_schedule": (600.0,)},
    ) as client:
        await client.fault("drop_after_success", method="POST", count=1)
        charged = await client.unresolved(client.process())
        await client.fault("rate_limit_429", method="POST", count=1)
        refused_ = await client.unresolved(client.process(user="bob"))
        await client.rows("UPDATE payments SET authorised_time = authorised_time - interval '1 day', due_time = now()")
        assert (await client.ended(charged)).status == COMPLETED
        ended = await client.ended(refused_)
        assert (ended.status, ended.failure_code) == (FAILED, "provider_unreachable")
        assert await client.captured() == [10_000]


async def test_a_process_that_died_after_recording_its_intent_is_recovered(client: payments.Client) -> None:
    payment = await client.create()
    await client.rows(_DIED_BEFORE_ASKING, payment.id)
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.captured() == [10_000]


async def test_a_request_that_is_refused_after_its_process_died_records_no_payment(client: payments.Client) -> None:
    """The intent was committed; the provider tells the recovery that the card is wrong."""
    await client.fault("rate_limit_429", method="POST", count=1)
    payment = await client.unresolved(client.process(card="pm_of_nobody", key="k", reference="INV-1"))
    watch = client.stub.WatchPayment(payments_pb2.WatchPaymentRequest(id=payment.id), metadata=payments.AS_ADMIN)
    async with refused("PAYMENT_NOT_FOUND"):
        async for seen in watch:
            assert seen.status == PROCESSING
    async with refused("PAYMENT_NOT_FOUND"):
        await client.get(payment)
    assert await client.rows("SELECT 1 FROM idempotency_keys") == []
    async with refused("INVALID_ARGUMENT", field="payment_method_id"):
        await client.process(card="pm_of_nobody", key="k", reference="INV-1")
    assert (await client.process(key="k", reference="INV-1")).status == COMPLETED
    assert await client.captured() == [10_000]


async def test_a_confirmation_that_is_refused_after_its_process_died_leaves_the_payment_pending(
    client: payments.Client,
) -> None:
    payment = await client.create()
    await client.rows(_DIED_BEFORE_ASKING, payment.id)
    await client.rows("UPDATE payments SET payment_method_id = 'pm_of_nobody'")
    await client.until_row("SELECT 1 FROM payments WHERE status = 'PENDING' AND refused_charges = 1")
    assert (await client.confirm(payment, card="pm_card_visa")).status == COMPLETED
    assert await client.captured() == [10_000]


async def test_a_process_that_died_after_the_charge_charges_no_second_time(client: payments.Client) -> None:
    await client.fault("drop_after_success", method="POST", count=1)
    payment = await client.unresolved(client.process())
    await client.rows("UPDATE payments SET leased_until = now() + interval '0.2 s' WHERE id = %s", payment.id)
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.captured() == [10_000]


async def test_a_process_that_died_after_the_deposit_credits_no_second_time(client: payments.Client) -> None:
    payment = await client.process()
    await client.rows(_DIED_AFTER_DEPOSIT, payment.id)
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.balance() == 10_000


async def test_a_repetition_takes_over_the_payment_of_a_call_that_died(client: payments.Client) -> None:
    await client.fault("drop_after_success", method="POST", count=1)
    payment = await client.unresolved(client.process(key="k"))
    await client.rows("UPDATE idempotency_keys SET leased_until = now() + interval '1 h'")
    async with refused("IDEMPOTENCY_KEY_IN_USE"):
        await client.process(key="k")
    await client.rows("UPDATE idempotency_keys SET leased_until = now()")
    again = await client.process(key="k")
    assert again.id == payment.id
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.captured() == [10_000]


async def test_a_caller_who_hangs_up_gets_the_same_payment_with_the_same_key(client: payments.Client) -> None:
    await client.fault("delay", delay_seconds=0.5, count=1)
    request = payments_pb2.ProcessStripePaymentRequest(amount=10_000, currency="USD", payment_method_id="pm_card_visa")
    call = client.stub.ProcessStripePayment(request, metadata=payments.by(client.user, key="k"))
    await client.until_row("SELECT 1 FROM payments")
    call.cancel()
    await client.until_row("SELECT 1 FROM idempotency_keys WHERE answer IS NOT NULL")
    assert (await client.process(key="k")).status == COMPLETED
    assert await client.captured() == [10_000]


async def test_an_outdated_holder_changes_nothing(client: payments.Client) -> None:
    """What it heard from the provider comes too late; a second payment, as slow and later, shows when that is over."""
    await client.fault("delay", delay_seconds=0.5, count=2)
    running = asyncio.create_task(client.process(amount=700))
    await client.until_row("SELECT 1 FROM payments")
    await client.rows("UPDATE payments SET fence = fence + 1, leased_until = now() + interval '1 hour'")
    whole_row = "SELECT to_jsonb(payments) FROM payments WHERE amount = 700"
    taken_over = await client.rows(whole_row)
    await client.ended(await client.process(amount=90))
    assert await client.rows(whole_row) == taken_over
    await client.rows("UPDATE payments SET leased_until = now() WHERE amount = 700")
    assert (await client.ended(await running)).status == COMPLETED
    assert (sorted(await client.captured()), await client.balance()) == ([90, 700], 790)


async def test_without_the_ledger_the_money_waits_and_then_arrives(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database,
        wallets_database,
        tmp_path,
        webhooks=False,
        wallets_target="127.0.0.1:1",
        money_path={"answer_seconds": 0.5},
        ledger_seconds=0.2,
    ) as client:
        with structlog.testing.capture_logs() as logs:
            payment = await client.process()
            await waiting.until("the ledger was asked", lambda: any("payments" in line for line in logs))
        assert payment.status == PROCESSING
        assert await client.captured() == [10_000]
        [call] = [line for line in logs if line["event"] == "call"]
        waited = f"payment {payment.id} waited 0.5 s for the ledger and goes on without the call"
        assert (call["log_level"], call["detail"], call["code"]) == ("warning", waited, "OK")
        assert [payment.id] in [line.get("payments") for line in logs if line["event"] == "ledger out of reach"]
    async with payments.running(payments_database, wallets_database, tmp_path, webhooks=False) as client:
        assert (await client.ended(payment)).status == COMPLETED
        assert await client.balance() == 10_000


async def test_a_deposit_that_the_ledger_refuses_is_offered_again(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with _ledger(refusals=2) as (ledger, target):
        async with payments.running(
            payments_database,
            wallets_database,
            tmp_path,
            webhooks=False,
            wallets_target=target,
            money_path={"answer_seconds": 0.05},
        ) as client:
            payment = await client.process()
            assert payment.status == PROCESSING
            assert (await client.ended(payment)).status == COMPLETED
        assert len(ledger.asked) == 3
        assert len(set(ledger.asked)) == 1


class _RefusingLedger(ledger_pb2_grpc.LedgerServiceServicer):
    """A ledger whose wallet is frozen for a while."""

    def __init__(self, refusals: int) -> None:
        self._refusals = refusals
        self.asked: list[str] = []

    async def PostTransfers(
        self, request: ledger_pb2.PostTransfersRequest, _context: Any
    ) -> ledger_pb2.PostTransfersResponse:
        self.asked += [transfer.id for transfer in request.transfers]
        return ledger_pb2.PostTransfersResponse(results=map(self._result, request.transfers))

    def _result(self, transfer: ledger_pb2.Transfer) -> ledger_pb2.TransferResult:
        if len(self.asked) > self._refusals:
            return ledger_pb2.TransferResult(transfer=transfer)
        return ledger_pb2.TransferResult(error=ledger_pb2.TransferError(reason="ACCOUNT_FROZEN", message="frozen"))


@contextlib.asynccontextmanager
async def _ledger(*, refusals: int) -> AsyncIterator[tuple[_RefusingLedger, str]]:
    ledger, server = _RefusingLedger(refusals), grpc.aio.server()
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(ledger, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield ledger, f"127.0.0.1:{port}"
    await server.stop(0)


_DIED_BEFORE_ASKING = """
UPDATE payments SET status = 'PROCESSING', step = 'AUTHORISE', payment_method_id = 'pm_card_visa', fence = 1,
    attempts = 1, authorised_time = now(), due_time = now(), leased_until = now() + interval '0.2 s' WHERE id = %s
"""
_DIED_AFTER_DEPOSIT = """
UPDATE payments SET status = 'PROCESSING', step = 'SETTLE', completed_time = NULL, due_time = now(),
    leased_until = now() + interval '0.2 s' WHERE id = %s
"""
