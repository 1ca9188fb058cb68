"""Webhooks as the provider sends them: twice, late, in any order, before its own answers."""

import asyncio
import json
import random
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local.postgres import Server
from kobklein.payments.v1 import payments_pb2
from tests import databases, payments
from tests.payments import refused

PROCESSING = payments_pb2.PAYMENT_STATUS_PROCESSING
COMPLETED = payments_pb2.PAYMENT_STATUS_COMPLETED
FAILED = payments_pb2.PAYMENT_STATUS_FAILED
CANCELLED = payments_pb2.PAYMENT_STATUS_CANCELLED
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
_PATIENT = {"provider_schedule": (600.0,)}
"""A path that asks nobody for ten minutes, so that whatever happens, an event made it happen."""


@pytest.fixture(scope="module")
async def fresh(
    postgres: Server, payments_template: str, wallets_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[], Awaitable[payments.Client]]]:
    templates, folder = (payments_template, wallets_template), tmp_path_factory.mktemp("keys")
    async with payments.shared(postgres, templates, folder, money_path=_PATIENT, stripe={"retries": 0}) as fresh:
        yield fresh


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


async def test_a_payer_who_agrees_is_credited_by_the_event(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.balance() == 10_000


async def test_a_payer_who_fails_is_refused_by_the_event(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/fail")
    ended = await client.ended(payment)
    assert (ended.status, ended.failure_code) == (FAILED, "payment_intent_authentication_failure")


async def test_an_event_before_the_answer_finds_its_payment(client: payments.Client) -> None:
    await client.control("/webhooks/hold")
    await client.fault("drop_after_success", method="POST", count=1)
    payment = await client.unresolved(client.process())
    assert not payment.stripe_payment_intent_id
    await client.control("/webhooks/release")
    ended = await client.ended(payment)
    assert ended.status == COMPLETED
    assert ended.stripe_payment_intent_id.startswith("pi_")
    assert await client.balance() == 10_000


async def test_copies_of_an_event_change_nothing_more(client: payments.Client) -> None:
    payment = await client.process()
    body = event("payment_intent.succeeded", await intent_of(client, payment))
    answers = await asyncio.gather(*(client.receive(body) for _ in range(100)))
    assert sum(not answer.duplicate for answer in answers) == 1
    await all_applied(client)
    assert await client.get(payment) == payment
    assert await client.balance() == 10_000


async def test_events_in_any_order_lead_to_the_providers_state(client: payments.Client) -> None:
    await client.control("/webhooks/hold")
    made = [await client.process(card=card) for card in _CARDS]
    for payment in made[2:]:
        if payment.status == PROCESSING:
            await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    await client.control("/webhooks/release", order="shuffled", seed=7)
    ended = [await client.ended(payment) for payment in made]
    await all_applied(client)
    assert [payment.status for payment in ended] == [COMPLETED, FAILED, COMPLETED, COMPLETED]
    assert sum(await client.captured()) == await client.balance() == 30_000


_CARDS = (
    "pm_card_visa",
    "pm_card_visa_chargeDeclined",
    "pm_card_threeDSecure2Required",
    "pm_card_threeDSecureRequired",
)


async def test_an_intent_cancelled_at_the_provider_cancels_the_payment(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.sandbox.post(
        f"/v1/payment_intents/{payment.stripe_payment_intent_id}/cancel",
        headers={"Authorization": "Bearer sk_test_sandbox"},
    )
    assert (await client.ended(payment)).status == CANCELLED


async def test_an_old_event_does_not_lead_a_payment_back(client: payments.Client) -> None:
    payment = await client.process()
    intent = {**await intent_of(client, payment), "status": "requires_payment_method"}
    await client.receive(event("payment_intent.payment_failed", intent))
    await client.receive(event("payment_intent.canceled", {**intent, "status": "canceled"}))
    await all_applied(client)
    assert await client.get(payment) == payment


async def test_money_after_the_end_stays_visible_and_credits_nobody(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_visa_chargeDeclined")
    intent = {**await intent_of(client, payment), "status": "succeeded", "amount_received": 10_000}
    await client.receive(event("payment_intent.succeeded", intent))
    await client.until_row("SELECT 1 FROM inbox_events WHERE applied_time IS NULL AND outcome LIKE '%%been paid'")
    assert (await client.get(payment)).status == FAILED
    assert await client.balance() == 0


async def test_another_amount_than_asked_is_kept_for_a_person_and_credits_nobody(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    intent = {**await intent_of(client, payment), "status": "succeeded", "amount_received": 9_000}
    await client.receive(event("payment_intent.succeeded", intent))
    seen = await client.until(payment, lambda payment: payment.failure_code == "amount_mismatch")
    assert seen.status == PROCESSING
    assert await client.balance() == 0


async def test_the_runbook_finds_shows_and_ends_a_payment_of_another_amount(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    other = await client.process(card="pm_card_threeDSecure2Required")
    intent = {**await intent_of(client, payment), "status": "succeeded", "amount_received": 9_000}
    await client.receive(event("payment_intent.succeeded", intent))
    await client.until(payment, lambda payment: payment.failure_code == "amount_mismatch")
    find, trail, events, end = runbook(payment)
    assert [str(row[0]) for row in await client.rows(find)] == [payment.id]
    assert [row[2] for row in await client.rows(trail)][-1] == "amount_mismatch"
    assert ("payment_intent.succeeded", "applied") in [(row[1], row[3]) for row in await client.rows(events)]
    await client.rows(end)
    await client.rows(end)
    ended = await client.get(payment)
    assert (ended.status, ended.failure_code) == (FAILED, "amount_mismatch")
    assert (await client.get(other)).status == PROCESSING
    assert [row[1:5] for row in await client.rows(trail)][-1] == (
        "<your name>",
        "refunded at the provider: <refund id>",
        "PROCESSING",
        "FAILED",
    )
    assert (await client.rows(find), await client.balance()) == ([], 0)


async def test_a_payment_into_a_closed_wallet_is_ended_as_the_guide_says(client: payments.Client) -> None:
    payment = await client.process()
    await client.rows(
        "UPDATE payments SET status = 'PROCESSING', step = 'SETTLE', completed_time = NULL,"
        " due_time = now() + interval '1 hour' WHERE id = %s",
        payment.id,
    )
    (end,) = runbook(payment, "A payment into a wallet that is closed")
    await client.rows(end)
    ended = await client.ended(payment)
    assert (ended.status, ended.failure_code) == (FAILED, "wallet_closed")


def runbook(payment: payments_pb2.Payment, title: str = "A payment of another amount than asked") -> list[str]:
    """Return the statements that a section of the operations guide has for a payment."""
    section = OPERATIONS.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sql\n(.+?)```", section, re.DOTALL)
    return [
        statement.replace("<payment id>", payment.id)
        for block in blocks
        for statement in block.split(";\n")
        if statement.strip()
    ]


async def test_an_event_waits_for_the_step_that_runs(client: payments.Client) -> None:
    await client.control("/webhooks/hold")
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.rows("UPDATE payments SET leased_until = now() + interval '0.5 s'")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    await client.receive(event("payment_intent.processing", await intent_of(client, payment)))
    await client.until_row("SELECT 1 FROM inbox_events WHERE outcome = 'busy'")
    assert (await client.ended(payment)).status == COMPLETED


async def test_events_that_move_nothing_are_kept_and_done_with(client: payments.Client) -> None:
    body = event("customer.created", {"object": "customer", "id": "cus_1"})
    assert not (await client.receive(body)).duplicate
    assert await client.rows("SELECT type, outcome, applied_time IS NULL FROM inbox_events") == [
        ("customer.created", "ignored", False)
    ]


async def test_an_intent_that_is_not_ours_is_done_with(client: payments.Client) -> None:
    intent = {"object": "payment_intent", "id": "pi_other", "status": "succeeded", "amount": 1, "currency": "usd"}
    await client.receive(event("payment_intent.succeeded", {**intent, "amount_received": 1, "metadata": {}}))
    await client.until_row("SELECT 1 FROM inbox_events WHERE outcome = 'not ours'")


async def test_an_event_that_cannot_be_read_holds_up_no_other(client: payments.Client) -> None:
    await client.receive(event("payment_intent.succeeded", {"object": "payment_intent", "id": "pi_odd"}))
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.rows("SELECT attempts > 0 FROM inbox_events WHERE object_id = 'pi_odd'") == [(True,)]


async def test_an_event_stored_by_a_process_that_died_is_applied_by_the_next(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(payments_database, wallets_database, tmp_path, money_path=_PATIENT) as client:
        payment = await client.process()
        await all_applied(client)
        await client.rows("UPDATE inbox_events SET applied_time = NULL WHERE outcome <> 'ignored'")
        await all_applied(client)
        assert await client.get(payment) == payment


async def test_other_providers_are_not_found(client: payments.Client) -> None:
    async with refused("UNKNOWN_PROVIDER"):
        request = payments_pb2.ReceiveWebhookRequest(provider="moncash", payload=b"{}", signature="t=1,v1=00")
        await client.stub.ReceiveWebhook(request)


def event(kind: str, content: dict[str, Any], **fields: Any) -> bytes:
    """Return the body of an event."""
    body = {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "type": kind,
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": content},
        **fields,
    }
    return json.dumps(body).encode()


async def intent_of(client: payments.Client, payment: payments_pb2.Payment) -> dict[str, Any]:
    """Return the intent of a payment as the provider has it."""
    return next(intent for intent in await client.intents() if intent["id"] == payment.stripe_payment_intent_id)


async def all_applied(client: payments.Client) -> None:
    """Wait until the provider has delivered everything and nothing waits in the inbox."""
    await client.control("/webhooks/wait")
    await client.until_row(
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM inbox_events WHERE applied_time IS NULL) "
        "AND EXISTS (SELECT 1 FROM inbox_events)"
    )


async def test_a_storm_of_events_ends_in_the_providers_state(client: payments.Client) -> None:
    chance = random.Random(11)
    await client.control("/webhooks/rules", kind="duplicate", times=3)
    made = await asyncio.gather(*(client.process(card=chance.choice(_CARDS)) for _ in range(20)))
    await asyncio.gather(
        *(
            client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
            for payment in made
            if payment.status == PROCESSING
        )
    )
    ended = await asyncio.gather(*(client.ended(payment) for payment in made))
    await all_applied(client)
    completed = [payment for payment in ended if payment.status == COMPLETED]
    assert sum(await client.captured()) == await client.balance() == 10_000 * len(completed)
    assert {payment.status for payment in ended} <= {COMPLETED, FAILED}
