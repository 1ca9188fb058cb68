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
import structlog

from deploy.local.postgres import Server
from kobklein.payments.v1 import payments_pb2
from tests import databases, metrics, payments, waiting
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


async def test_money_after_the_end_is_reported_and_credits_nobody(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_visa_chargeDeclined")
    intent = {**await intent_of(client, payment), "status": "succeeded", "amount_received": 10_000}
    with structlog.testing.capture_logs() as logs:
        await client.receive(event("payment_intent.succeeded", intent))
        await client.until_row("SELECT 1 FROM inbox_events WHERE state = 'UNAPPLIED' AND outcome LIKE '%%been paid'")
        async with waiting.patience("the alarm"):
            while not alarms(logs):
                await client.rows("SELECT 1")  # Each look lets the service go on.
    assert alarms(logs) == ["payment_intent.succeeded"]
    assert (await client.get(payment)).status == FAILED
    assert await client.balance() == 0


async def test_another_amount_than_asked_is_kept_for_a_person_and_credits_nobody(client: payments.Client) -> None:
    payment = await _collected_too_little(client)
    assert payment.status == PROCESSING
    assert await client.balance() == 0


async def _collected_too_little(client: payments.Client) -> payments_pb2.Payment:
    """Return a payment that asked for more than the provider collected."""
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.rows("UPDATE payments SET amount = amount + 1_000 WHERE id = %s", payment.id)
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    return await client.until(payment, lambda payment: payment.failure_code == "amount_mismatch")


async def test_the_runbook_finds_shows_and_ends_a_payment_of_another_amount(client: payments.Client) -> None:
    other = await client.process(card="pm_card_threeDSecure2Required")
    payment = await _collected_too_little(client)
    find, trail, events, end = runbook(payment)
    assert [str(row[0]) for row in await client.rows(find)] == [payment.id]
    assert [row[2] for row in await client.rows(trail)][-1] == "amount_mismatch"
    assert ("payment_intent.succeeded", "fetch") in [(row[1], row[3]) for row in await client.rows(events)]
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
    with structlog.testing.capture_logs() as logs:
        assert not (await client.receive(body)).duplicate
    assert await client.rows("SELECT type, state, outcome, applied_time IS NULL FROM inbox_events") == [
        ("customer.created", "IGNORED", "ignored", False)
    ]
    assert alarms(logs) == []


@pytest.mark.parametrize(
    ("kind", "status"), [("payment_intent.succeeded", "succeeded"), ("payment_intent.canceled", "canceled")]
)
async def test_a_signed_event_alone_settles_and_ends_nothing(client: payments.Client, kind: str, status: str) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    intent = {**await intent_of(client, payment), "status": status, "amount_received": 10_000}
    body = event(kind, intent)
    await client.fault("delay", method="GET", path="/v1/payment_intents/*", delay_seconds=0)
    await client.receive(body)
    await client.until_row("SELECT 1 FROM inbox_events WHERE outcome = 'fetch' AND event_id = %s", id_of(body))
    await client.until_row("SELECT 1 FROM payments WHERE due_event = '' AND leased_until IS NULL")
    assert await client.hits() == 1
    assert await client.get(payment) == payment
    assert await client.balance() == 0


async def test_an_event_cannot_lend_a_payment_the_intent_of_another_one(client: payments.Client) -> None:
    """With a stolen secret, an attacker says that a paid intent belongs to a payment whose own is not known yet."""
    await client.control("/webhooks/hold")
    paid = await client.process()
    await client.fault("rate_limit_429", method="POST", count=1)
    payment = await client.unresolved(client.process(card="pm_card_threeDSecure2Required"))
    await client.rows("UPDATE payments SET stripe_payment_intent_id = NULL WHERE id = %s", paid.id)
    intent = await intent_of(client, paid)
    await client.receive(event("payment_intent.succeeded", {**intent, "metadata": {"payment_id": payment.id}}))
    waiting = await client.until(payment, lambda payment: payment.HasField("next_action"))
    assert waiting.stripe_payment_intent_id not in ("", intent["id"])
    assert waiting.status == PROCESSING
    assert await client.balance() == 10_000


async def test_the_audit_trail_names_the_event_that_led_to_the_look(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    await client.ended(payment)
    (event_id,) = (await client.rows("SELECT event_id FROM inbox_events WHERE type = 'payment_intent.succeeded'"))[0]
    assert await client.rows("SELECT actor, what, trigger, event_id FROM payment_changes ORDER BY version") == [
        (client.user, "created", "CALL", ""),
        ("money_path", "waits: requires_action", "CALL", ""),
        ("money_path", "paid", "EVENT", event_id),
        ("settlement", "settled", "SETTLEMENT", ""),
    ]


async def test_an_event_of_a_connected_account_is_answered_and_changes_nothing(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control("/webhooks/hold")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    before = metrics.labelled("payments_events_total", outcome="other_account")
    intent = await intent_of(client, payment)
    with structlog.testing.capture_logs() as logs:
        for kind, content in (
            ("payment_intent.succeeded", intent),
            ("charge.refunded", {"object": "charge", "id": "ch_1", "payment_intent": intent["id"]}),
        ):
            assert not (await client.receive(event(kind, content, account="acct_attacker"))).duplicate
    assert [(log["log_level"], log["event"]) for log in logs if "event_id" in log] == [
        ("warning", "event of another account")
    ] * 2
    assert metrics.labelled("payments_events_total", outcome="other_account") == before + 2
    assert (
        await client.rows(
            "SELECT state, outcome, applied_time IS NULL FROM inbox_events WHERE outcome LIKE '%%account'"
        )
        == [("IGNORED", "of another account", False)] * 2
    )
    assert await client.get(payment) == payment
    assert not (
        await client.receive(event("payment_intent.succeeded", {**intent, "id": intent["id"]}, account=None))
    ).duplicate
    assert (await client.ended(payment)).status == COMPLETED


_MOVING = (
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.closed",
    "payout.paid",
)


async def test_money_that_moves_at_the_provider_alone_is_counted_logged_once_and_kept_for_staff(
    client: payments.Client,
) -> None:
    payment = await client.process()
    before = {kind: metrics.labelled("payments_events_unapplied_total", type=kind) for kind in _MOVING}
    bodies = [
        event(kind, {"object": kind.partition(".")[0], "id": "x_1", "payment_intent": payment.stripe_payment_intent_id})
        for kind in _MOVING
    ]
    with structlog.testing.capture_logs() as logs:
        for body in (*bodies, *bodies):
            await client.receive(body)
    assert alarms(logs) == list(_MOVING)
    assert {kind: metrics.labelled("payments_events_unapplied_total", type=kind) for kind in _MOVING} == {
        kind: count + 1 for kind, count in before.items()
    }
    assert await client.rows(
        "SELECT type, payment_id::text FROM inbox_events WHERE state = 'UNAPPLIED' ORDER BY sequence"
    ) == [(kind, payment.id) for kind in _MOVING]
    assert (await client.get(payment)).status == COMPLETED


async def test_a_refund_and_a_dispute_at_the_provider_are_reported(client: payments.Client) -> None:
    refunded = await client.process()
    disputed = await client.process(card="pm_card_createDispute")
    await client.sandbox.post(
        "/v1/refunds",
        data={"payment_intent": refunded.stripe_payment_intent_id},
        headers={"Authorization": "Bearer sk_test_sandbox"},
    )
    await all_applied(client)
    found = await client.rows("SELECT DISTINCT type, payment_id::text FROM inbox_events WHERE state = 'UNAPPLIED'")
    assert set(found) >= {
        ("charge.refunded", refunded.id),
        ("refund.created", refunded.id),
        ("charge.dispute.created", disputed.id),
        ("charge.dispute.funds_withdrawn", disputed.id),
    }
    assert {payment_id for _, payment_id in found} == {refunded.id, disputed.id}


async def test_money_that_names_a_payment_which_is_not_here_is_reported(client: payments.Client) -> None:
    intent = {"object": "payment_intent", "id": "pi_lost", "status": "succeeded", "amount": 1, "currency": "usd"}
    named = {"metadata": {"payment_id": str(uuid.uuid4())}}
    await client.receive(event("payment_intent.succeeded", {**intent, "amount_received": 1, **named}))
    await client.until_row("SELECT 1 FROM inbox_events WHERE state = 'UNAPPLIED' AND outcome LIKE '%%is not here'")


async def test_an_intent_that_is_not_ours_is_done_with(client: payments.Client) -> None:
    intent = {"object": "payment_intent", "id": "pi_other", "status": "succeeded", "amount": 1, "currency": "usd"}
    await client.receive(event("payment_intent.succeeded", {**intent, "amount_received": 1, "metadata": {}}))
    await client.until_row("SELECT 1 FROM inbox_events WHERE outcome = 'not ours' AND state = 'IGNORED'")


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "pi_odd"},
        {"id": "pi_odd\0", "status": "succeeded", "amount": 1, "currency": "usd", "metadata": {}},
        {"id": "pi_odd", "status": "a_new_one", "amount": 1, "currency": "usd", "metadata": {}},
    ],
)
async def test_an_event_that_cannot_be_read_holds_up_no_other(client: payments.Client, odd: dict[str, Any]) -> None:
    await client.receive(event("payment_intent.succeeded", {"object": "payment_intent", **odd}))
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.rows("SELECT attempts > 0 FROM inbox_events WHERE object_id = 'pi_odd'") == [(True,)]


async def test_an_event_that_cannot_be_read_holds_up_no_later_one_of_its_intent(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    intent = {"object": "payment_intent", "id": payment.stripe_payment_intent_id, "status": "a_new_one"}
    await client.receive(event("payment_intent.processing", intent))
    await client.until_row("SELECT 1 FROM inbox_events WHERE attempts > 0")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    assert (await client.ended(payment)).status == COMPLETED


async def test_an_event_that_the_database_refuses_is_set_aside_and_the_others_are_applied(
    client: payments.Client,
) -> None:
    await client.rows(
        "CREATE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.object_id = 'pi_bad' AND NEW.applied_time IS NOT NULL THEN RAISE data_exception; END IF;"
        " RETURN NEW; END $$"
    )
    await client.rows(
        "CREATE TRIGGER refuse_event BEFORE UPDATE ON inbox_events FOR EACH ROW EXECUTE FUNCTION refuse_event()"
    )
    bad = {"object": "payment_intent", "id": "pi_bad", "status": "succeeded", "amount": 1, "currency": "usd"}
    await client.receive(event("payment_intent.succeeded", {**bad, "amount_received": 1, "metadata": {}}))
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    assert (await client.ended(payment)).status == COMPLETED
    await client.until_row("SELECT 1 FROM inbox_events WHERE object_id = 'pi_bad' AND outcome LIKE 'failed: %%'")


async def test_an_event_that_stays_unreadable_is_reported_in_the_end(client: payments.Client) -> None:
    await client.receive(event("payment_intent.succeeded", {"object": "payment_intent", "id": "pi_odd"}))
    for attempt in range(1, 5):
        await client.until_row("SELECT 1 FROM inbox_events WHERE state = 'RECEIVED' AND attempts = %s", attempt)
        await client.rows("UPDATE inbox_events SET due_time = now()")
    await client.until_row("SELECT 1 FROM inbox_events WHERE state = 'UNAPPLIED' AND outcome LIKE '%%cannot read'")


async def test_an_event_stored_by_a_process_that_died_is_applied_by_the_next(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(payments_database, wallets_database, tmp_path, money_path=_PATIENT) as client:
        payment = await client.process()
        await all_applied(client)
        await client.rows("UPDATE inbox_events SET applied_time = NULL, state = 'RECEIVED' WHERE outcome <> 'ignored'")
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


def id_of(body: bytes) -> str:
    """Return the id of an event."""
    return str(json.loads(body)["id"])


def alarms(logs: list[Any]) -> list[str]:
    """Return the types of the events that the log says move money and are not applied."""
    raised = [line for line in logs if line["event"] == "event moves money and is not applied"]
    assert {line["log_level"] for line in raised} <= {"error"}
    return [line["type"] for line in raised]


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
