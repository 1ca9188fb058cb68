"""A provider that is out of reach refuses the call with UNAVAILABLE, and never loses or doubles its payment."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from deploy.local.postgres import Server
from kobklein import client as channels
from kobklein.payments.v1 import payments_pb2, payments_pb2_grpc
from tests import databases, payments, wallets
from tests.payments import refused

PROCESSING = payments_pb2.PAYMENT_STATUS_PROCESSING
COMPLETED = payments_pb2.PAYMENT_STATUS_COMPLETED
FAILED = payments_pb2.PAYMENT_STATUS_FAILED
CANCELLED = payments_pb2.PAYMENT_STATUS_CANCELLED

RETRIES = 1
ONE_CALL = RETRIES + 1
"""Most requests that one call may make at the provider."""
KINDS = ["rate_limit_429", "error_500", "conflict_409", "drop_after_success"]


@pytest.fixture(scope="module")
async def fresh(
    postgres: Server, payments_template: str, wallets_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callable[[], Awaitable[payments.Client]]]:
    """A service that asks the provider again only when a caller does."""
    templates, folder = (payments_template, wallets_template), tmp_path_factory.mktemp("keys")
    async with payments.shared(
        postgres,
        templates,
        folder,
        webhooks=False,
        stripe={"retries": RETRIES},
        money_path={"provider_schedule": (600.0,)},
    ) as fresh:
        yield fresh


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_key_takes_the_payment_over_and_asks_the_provider_at_once(
    client: payments.Client, kind: str
) -> None:
    await client.fault(kind, method="POST")
    first = await client.unresolved(client.process(key="k"))
    second = await client.unresolved(client.process(key="k"))
    assert (first.id, first.status) == (second.id, PROCESSING)
    await client.mend()
    paid = await client.process(key="k")
    assert (paid.id, paid.status) == (first.id, COMPLETED)
    assert await client.process(key="k") == paid
    assert await client.captured() == [10_000]
    assert await client.balance() == 10_000


async def test_another_key_is_another_payment(client: payments.Client) -> None:
    await client.fault("rate_limit_429", method="POST", count=ONE_CALL)
    first = await client.unresolved(client.process(key="one"))
    other = await client.process(key="two", amount=500)
    assert (other.status, other.id != first.id) == (COMPLETED, True)
    assert (await client.process(key="one")).id == first.id
    assert sorted(await client.captured()) == [500, 10_000]


async def test_the_key_is_free_as_soon_as_the_call_is_refused_and_stays_bound_to_its_request(
    client: payments.Client,
) -> None:
    await client.fault("rate_limit_429", method="POST")
    payment = await client.unresolved(client.process(key="k"))
    keys = await client.rows("SELECT answer, leased_until, resource_id::text FROM idempotency_keys")
    assert keys == [(None, None, payment.id)]
    async with refused("IDEMPOTENCY_KEY_REUSED"):
        await client.process(key="k", amount=1)


async def test_a_payment_that_moved_on_by_itself_is_the_answer_to_its_key(client: payments.Client) -> None:
    await client.fault("drop_after_success", method="POST", count=ONE_CALL)
    payment = await client.unresolved(client.process(key="k"))
    await client.rows("UPDATE payments SET due_time = now()")
    ended = await client.ended(payment)
    assert (ended.status, await client.process(key="k")) == (COMPLETED, ended)


async def test_a_confirmation_is_refused_alike_and_taken_over_with_its_key_or_without(client: payments.Client) -> None:
    pending = await client.create(amount=700)
    await client.fault("rate_limit_429", method="POST")
    await client.unresolved(client.confirm(pending, card="pm_card_visa", key="c"))
    await client.unresolved(client.confirm(pending))
    await client.mend()
    paid = await client.confirm(pending, card="pm_card_visa", key="c")
    assert (paid.id, paid.status) == (pending.id, COMPLETED)
    assert await client.captured() == [700]


async def test_a_payment_that_waits_for_its_payer_is_an_answer_until_the_provider_is_away(
    client: payments.Client,
) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    assert payment.status == PROCESSING
    await client.fault("rate_limit_429", method="GET", path="/v1/payment_intents/*")
    named = await client.unresolved(client.confirm(payment, key="c"))
    assert await client.get(named) == payment
    await client.mend()
    assert await client.confirm(payment, key="c") == payment


async def test_a_decline_is_a_result_even_if_its_intent_cannot_be_closed_at_once(client: payments.Client) -> None:
    await client.fault("rate_limit_429", path="/v1/payment_intents/*/cancel")
    declined = "pm_card_visa_chargeDeclinedInsufficientFunds"
    payment = await client.unresolved(client.process(key="k", card=declined))
    assert payment.status == PROCESSING
    await client.mend()
    failed = await client.process(key="k", card=declined)
    assert (failed.id, failed.status, failed.failure_code) == (payment.id, FAILED, "insufficient_funds")


async def test_a_cancellation_in_vain_is_refused_stays_wanted_and_is_taken_over_with_its_key(
    client: payments.Client,
) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    await client.fault("rate_limit_429", path="/v1/payment_intents/*/cancel")
    admin = payments.by("root", "admin", key="x")
    asked = await client.unresolved(client.update(payment, "status", metadata=admin, status=CANCELLED))
    assert (asked.id, asked.status) == (payment.id, PROCESSING)
    assert await client.rows("SELECT step FROM payments") == [("CANCEL",)]
    await client.mend()
    cancelled = await client.update(payment, "status", metadata=admin, status=CANCELLED)
    assert (cancelled.id, cancelled.status) == (payment.id, CANCELLED)
    assert [intent["status"] for intent in await client.intents()] == ["canceled"]


async def test_a_charge_of_unknown_outcome_cannot_be_cancelled_yet(client: payments.Client) -> None:
    await client.fault("rate_limit_429", method="POST")
    payment = await client.unresolved(client.process())
    async with refused("PAYMENT_BUSY"):
        await client.update(payment, "status", metadata=payments.AS_ADMIN, status=CANCELLED)


async def test_a_provider_that_cannot_be_connected_to_is_unavailable(
    payments_database: databases.Database, wallets_database: databases.Database, tmp_path: Path
) -> None:
    async with payments.running(
        payments_database,
        wallets_database,
        tmp_path,
        webhooks=False,
        stripe={"api_base": "http://127.0.0.1:1", "retries": RETRIES},
        money_path={"provider_schedule": (600.0,)},
    ) as client:
        payment = await client.unresolved(client.process(key="k"))
        assert payment.status == PROCESSING
    async with payments.running(payments_database, wallets_database, tmp_path, webhooks=False) as client:
        paid = await client.process(key="k")
        assert (paid.id, paid.status) == (payment.id, COMPLETED)


@pytest.mark.parametrize("kind", ["rate_limit_429", "conflict_409", "drop_after_success"])
async def test_one_call_through_our_channel_makes_a_bounded_number_of_requests(
    client: payments.Client, kind: str
) -> None:
    await client.fault(kind, method="POST")
    async with channels.channel(client.target, None) as channel:
        stub = payments_pb2_grpc.PaymentsServiceStub(channel)
        request = payments_pb2.ProcessStripePaymentRequest(amount=100, currency="USD", payment_method_id="pm_card_visa")
        await client.unresolved(stub.ProcessStripePayment(request, metadata=payments.by(client.user, key="k")))
    assert await client.hits() == ONE_CALL


async def test_one_rest_call_makes_a_bounded_number_of_requests_and_says_which_payment_it_made(
    client: payments.Client,
) -> None:
    await client.fault("rate_limit_429", method="POST")
    headers = {"authorization": f"Bearer {wallets.token(client.user, 'user')}", "idempotency-key": "k"}
    body = {"amount": "100.00", "currency": "USD", "paymentMethodId": "pm_card_visa"}
    async with payments.gateway(client.target) as http:
        answer = await http.post("/payments/stripe/process", json=body, headers=headers)
        ((payment_id,),) = await client.rows("SELECT id::text FROM payments")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["reason"] == "PROVIDER_UNAVAILABLE"
        assert payment_id in answer.json()["detail"]
        assert await client.hits() == ONE_CALL
        await client.mend()
        again = await http.post("/payments/stripe/process", json=body, headers=headers)
        assert (again.status_code, again.json()["id"], again.json()["status"]) == (201, payment_id, "COMPLETED")
    assert await client.captured() == [10_000]
