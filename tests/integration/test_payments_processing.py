"""Card payments through the whole service: the real SDK, a provider with a ledger of its own, and a real ledger."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from kobklein import errors
from kobklein.payments.v1 import payments_pb2
from tests import databases, payments
from tests.payments import refused

PROCESSING = payments_pb2.PAYMENT_STATUS_PROCESSING
COMPLETED = payments_pb2.PAYMENT_STATUS_COMPLETED
FAILED = payments_pb2.PAYMENT_STATUS_FAILED
CANCELLED = payments_pb2.PAYMENT_STATUS_CANCELLED
PENDING = payments_pb2.PAYMENT_STATUS_PENDING


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


async def test_a_good_card_reaches_the_wallet(client: payments.Client) -> None:
    payment = await client.process(description="Top-up", metadata={"cart": 7})
    assert payment.status == COMPLETED
    assert payment.stripe_payment_intent_id.startswith("pi_")
    assert payment.HasField("completed_time")
    assert payment.reference.startswith("KP-")
    assert payment.metadata["cart"] == 7
    assert await client.get(payment) == payment
    assert await client.balance() == 10_000
    assert await client.captured(payment.id) == [10_000]


async def test_every_change_is_in_the_audit_trail(client: payments.Client) -> None:
    payment = await client.process()
    trail = await client.rows(
        "SELECT version, actor, what, before, after, trigger FROM payment_changes WHERE payment_id = %s ORDER BY 1",
        payment.id,
    )
    assert trail == [
        (1, client.user, "created", None, "PROCESSING", "CALL"),
        (2, "money_path", "paid", "PROCESSING", "PROCESSING", "CALL"),
        (3, "settlement", "settled", "PROCESSING", "COMPLETED", "SETTLEMENT"),
    ]
    assert payment.version == 3


async def test_gourdes_are_charged_in_hundredths(client: payments.Client) -> None:
    payment = await client.process(amount=12_345, currency="HTG")
    assert payment.status == COMPLETED
    assert await client.balance(currency="HTG") == 12_345


async def test_whole_currencies_are_charged_whole(client: payments.Client) -> None:
    assert (await client.process(amount=500, currency="JPY")).status == COMPLETED
    assert await client.captured() == [500]
    assert await client.balance(currency="JPY") == 500


async def test_a_declined_card_is_a_failed_payment_and_no_error(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_visa_chargeDeclinedInsufficientFunds")
    assert (payment.status, payment.failure_code) == (FAILED, "insufficient_funds")
    assert payment.failure_message
    assert await client.balance() == 0


async def test_a_failed_payment_can_never_be_paid_at_the_provider_any_more(client: payments.Client) -> None:
    await client.process(card="pm_card_visa_chargeDeclined")
    (intent,) = await client.intents()
    assert intent["status"] == "canceled"


async def test_three_d_secure_waits_for_the_payer_and_then_settles(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    assert payment.status == PROCESSING
    assert payment.next_action.type == "redirect_to_url"
    assert payment.next_action.redirect_url.startswith("http")
    assert payment.next_action.client_secret.startswith(payment.stripe_payment_intent_id)
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    confirmed = await client.confirm(payment)
    assert confirmed.status == COMPLETED
    assert not confirmed.HasField("next_action")
    assert await client.balance() == 10_000


async def test_the_path_finds_out_by_itself_that_the_payer_has_agreed(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
    assert (await client.ended(payment)).status == COMPLETED


async def test_looking_again_is_no_change(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.until_row("SELECT 1 FROM payments WHERE attempts >= 3")
    assert await client.get(payment) == payment
    assert await client.confirm(payment) == payment


async def test_a_payer_who_fails_three_d_secure_has_a_failed_payment(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/fail")
    ended = await client.ended(payment)
    assert (ended.status, ended.failure_code) == (FAILED, "payment_intent_authentication_failure")
    (intent,) = await client.intents()
    assert intent["status"] == "canceled"


async def test_an_unknown_card_is_an_error_that_names_the_field(client: payments.Client) -> None:
    key = str(uuid.uuid4())
    for _ in range(2):
        async with refused("INVALID_ARGUMENT", field="payment_method_id"):
            await client.process(card="pm_of_nobody", key=key)
    assert await _seen(client) == []
    assert (await client.process(key=key)).status == COMPLETED


async def test_too_small_an_amount_records_no_payment_and_leaves_key_and_reference_free(
    client: payments.Client,
) -> None:
    async with refused("INVALID_ARGUMENT", field="amount"):
        await client.process(amount=1, key="k", reference="INV-1")
    assert await _seen(client) == []
    payment = await client.process(amount=2_000, key="k", reference="INV-1")
    assert payment.status == COMPLETED
    assert await client.process(amount=2_000, key="k", reference="INV-1") == payment
    assert await _seen(client) == [payment]
    assert await client.captured() == [2_000]


async def _seen(client: payments.Client) -> list[payments_pb2.Payment]:
    """Return the payments that a list shows; a report counts the same ones."""
    request = payments_pb2.ListPaymentsRequest()
    listed = await client.stub.ListPayments(request, metadata=payments.by(client.user))
    report = await client.stub.GetPaymentAnalytics(
        payments_pb2.GetPaymentAnalyticsRequest(user_id=client.user), metadata=payments.AS_ADMIN
    )
    assert report.total.count == len(listed.payments)
    return list(listed.payments)


async def test_the_trail_of_a_withdrawn_payment_keeps_the_reason_for_staff(client: payments.Client) -> None:
    async with refused("INVALID_ARGUMENT", field="amount"):
        await client.process(amount=1)
    ((payment_id,),) = await client.rows("SELECT id::text FROM payments WHERE deleted_time IS NOT NULL")
    payment = payments_pb2.Payment(id=payment_id)
    async with refused("PAYMENT_NOT_FOUND"):
        await client.get(payment)
    trail = await client.stub.ListPaymentChanges(
        payments_pb2.ListPaymentChangesRequest(id=payment_id), metadata=payments.AS_ADMIN
    )
    assert [(change.what, change.after) for change in trail.changes] == [
        ("created", PROCESSING),
        ("withdrawn: amount_too_small", FAILED),
    ]


async def test_many_calls_with_one_wrong_card_record_no_payment(client: payments.Client) -> None:
    answers = await asyncio.gather(
        *(client.process(card="pm_of_nobody", key="k") for _ in range(20)), return_exceptions=True
    )
    reasons = {errors.from_rpc_error(answer).reason for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
    assert len(answers) == 20
    assert "INVALID_ARGUMENT" in reasons <= {"INVALID_ARGUMENT", "IDEMPOTENCY_KEY_IN_USE"}
    assert await _seen(client) == []
    assert (await client.process(key="k")).status == COMPLETED


async def test_a_refused_request_leaves_a_recorded_payment_pending(client: payments.Client) -> None:
    payment = await client.create(amount=700, reference="INV-1")
    for number in (1, 2):
        async with refused("INVALID_ARGUMENT", field="payment_method_id"):
            await client.confirm(payment, card="pm_of_nobody", key="confirm")
        again = await client.get(payment)
        assert (again.status, again.failure_code, again.version) == (PENDING, "", 1 + 2 * number)
    async with refused("REFERENCE_TAKEN"):
        await client.create(reference="INV-1")
    confirmed = await client.confirm(payment, card="pm_card_visa", key="confirm")
    assert (confirmed.status, confirmed.failure_code) == (COMPLETED, "")
    assert await client.confirm(payment, card="pm_card_visa", key="confirm") == confirmed
    assert (await client.captured(), await client.balance()) == ([700], 700)


async def test_a_refused_request_is_no_failure_of_a_payment_that_is_cancelled_later(client: payments.Client) -> None:
    payment = await client.create()
    async with refused("INVALID_ARGUMENT", field="payment_method_id"):
        await client.confirm(payment, card="pm_of_nobody")
    cancelled = await client.update(payment, "status", metadata=payments.AS_ADMIN, status=CANCELLED)
    assert (cancelled.status, cancelled.failure_code, cancelled.failure_message) == (CANCELLED, "", "")


async def test_calls_with_good_and_wrong_cards_at_once_charge_once(client: payments.Client) -> None:
    payment = await client.create(amount=900)
    answers = await asyncio.gather(
        *(client.confirm(payment, card=card) for card in ("pm_of_nobody", "pm_card_visa") for _ in range(10)),
        return_exceptions=True,
    )
    for answer, good in zip(answers, [False] * 10 + [True] * 10, strict=True):
        if isinstance(answer, grpc.aio.AioRpcError):
            assert errors.from_rpc_error(answer).reason in ("PAYMENT_BUSY", *(() if good else ("INVALID_ARGUMENT",)))
        else:
            assert not isinstance(answer, BaseException)
    await client.confirm(payment, card="pm_card_visa")
    assert (await client.ended(payment)).status == COMPLETED
    assert (await client.captured(), await client.balance()) == ([900], 900)


async def test_an_amount_that_cards_cannot_take_is_refused_before_anything_is_recorded(client: payments.Client) -> None:
    async with refused("INVALID_ARGUMENT", field="amount"):
        await client.process(amount=100_000_000)
    async with refused("INVALID_ARGUMENT", field="amount"):
        await client.process(amount=1_001, currency="KWD")
    async with refused("INVALID_ARGUMENT", field="amount"):
        await client.create(amount=150, currency="MGA")
    assert await client.rows("SELECT 1 FROM payments") == []


async def test_a_reference_is_taken_once_by_a_user(client: payments.Client) -> None:
    await client.process(reference="INV-1")
    async with refused("REFERENCE_TAKEN"):
        await client.create(reference="INV-1")
    assert (await client.create(user="bob", reference="INV-1")).reference == "INV-1"


async def test_a_payment_that_failed_or_was_cancelled_frees_its_reference(client: payments.Client) -> None:
    failed = await client.process(card="pm_card_visa_chargeDeclined", reference="INV-1")
    cancelled = await client.create(reference="INV-1")
    await client.update(cancelled, "status", metadata=payments.AS_ADMIN, status=CANCELLED)
    deleted = await client.create(reference="INV-1")
    await client.stub.DeletePayment(payments_pb2.DeletePaymentRequest(id=deleted.id), metadata=payments.AS_ADMIN)
    waiting = await client.process(card="pm_card_threeDSecure2Required", reference="INV-1")
    async with refused("REFERENCE_TAKEN"):
        await client.process(reference="INV-1")
    await client.update(waiting, "status", metadata=payments.AS_ADMIN, status=CANCELLED)
    completed = await client.process(reference="INV-1")
    assert (failed.status, completed.status) == (FAILED, COMPLETED)
    async with refused("REFERENCE_TAKEN"):
        await client.create(reference="INV-1")


async def test_of_payments_that_race_for_a_reference_one_wins(client: payments.Client) -> None:
    answers = await asyncio.gather(
        *(client.create(reference="INV-1") for _ in range(10)),
        *(client.process(reference="INV-1") for _ in range(10)),
        return_exceptions=True,
    )
    errors_ = [errors.from_rpc_error(answer) for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert [(error.reason, error.code) for error in errors_] == [
        ("REFERENCE_TAKEN", grpc.StatusCode.ALREADY_EXISTS)
    ] * 19
    assert len(await client.rows("SELECT 1 FROM payments")) == 1


async def test_a_payment_recorded_first_is_charged_when_it_is_confirmed(client: payments.Client) -> None:
    payment = await client.create(amount=700)
    assert payment.status == PENDING
    async with refused("INVALID_ARGUMENT", field="payment_method_id"):
        await client.confirm(payment)
    confirmed = await client.confirm(payment, card="pm_card_visa", key="confirm-1")
    assert confirmed.status == COMPLETED
    assert await client.confirm(payment, card="pm_card_visa", key="confirm-1") == confirmed
    assert await client.confirm(payment) == confirmed
    assert await client.balance() == 700


async def test_a_failed_payment_is_not_confirmed_again(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_visa_chargeDeclined")
    async with refused("PAYMENT_ENDED"):
        await client.confirm(payment, card="pm_card_visa")
    assert await client.balance() == 0


async def test_a_method_without_provider_is_recorded_but_not_processed(client: payments.Client) -> None:
    payment = await client.create(method=payments_pb2.PAYMENT_METHOD_MONCASH, currency="HTG")
    async with refused("METHOD_NOT_PROCESSABLE"):
        await client.confirm(payment)


async def test_another_users_payment_is_not_found(client: payments.Client) -> None:
    payment = await client.create()
    async with refused("PAYMENT_NOT_FOUND"):
        await client.get(payment, user="bob")
    async with refused("PAYMENT_NOT_FOUND"):
        await client.confirm(payment, card="pm_card_visa", user="bob")
    async with refused("PAYMENT_NOT_FOUND"):
        await client.update(payment, "description", metadata=payments.by("bob"), description="mine")


async def test_a_hundred_confirmations_at_once_charge_once(client: payments.Client) -> None:
    payment = await client.create(amount=900)
    answers = await asyncio.gather(
        *(client.confirm(payment, card="pm_card_visa") for _ in range(100)), return_exceptions=True
    )
    assert not [answer for answer in answers if isinstance(answer, BaseException)]
    assert (await client.ended(payment)).status == COMPLETED
    assert await client.captured() == [900]
    assert await client.balance() == 900


async def test_an_admin_cancels_what_waits_for_the_payer_at_the_provider_first(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    cancelled = await client.update(payment, "status", metadata=payments.AS_ADMIN, status=CANCELLED)
    assert cancelled.status == CANCELLED
    assert not cancelled.HasField("next_action")
    (intent,) = await client.intents()
    assert intent["status"] == "canceled"


async def test_a_payment_that_was_paid_meanwhile_is_not_cancelled_but_completes(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database, wallets_database, tmp_path, webhooks=False, money_path={"provider_schedule": (60.0,)}
    ) as client:
        payment = await client.process(card="pm_card_threeDSecure2Required")
        await client.control(f"/payment_intents/{payment.stripe_payment_intent_id}/complete")
        async with refused("PAYMENT_PAID"):
            await client.update(payment, "status", metadata=payments.AS_ADMIN, status=CANCELLED)
        assert (await client.ended(payment)).status == COMPLETED
        assert await client.balance() == 10_000


async def test_a_payer_who_takes_too_long_loses_the_intent(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database, wallets_database, tmp_path, webhooks=False, money_path={"payer_seconds": 0.5}
    ) as client:
        payment = await client.process(card="pm_card_threeDSecure2Required")
        assert (await client.ended(payment)).status == CANCELLED
        assert [intent["status"] for intent in await client.intents()] == ["canceled"]
