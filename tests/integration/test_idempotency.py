"""Repeated calls: one effect a key, whatever the caller and the network do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import pytest

from kobklein import errors
from kobklein.payments.v1 import payments_pb2
from tests import payments
from tests.payments import by, refused

KEYS: Final = 100
CALLS: Final = 20
KEYS_AT_ONCE: Final = 15


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


async def test_a_hundred_keys_of_twenty_calls_at_once_make_a_hundred_payments(client: payments.Client) -> None:
    room = asyncio.Semaphore(KEYS_AT_ONCE)
    answers = await asyncio.gather(*(_storm(client, f"key-{number}", room) for number in range(KEYS)))
    assert len({answer.id for answer in answers}) == KEYS
    assert {answer.status for answer in answers} == {payments_pb2.PAYMENT_STATUS_COMPLETED}
    assert await client.rows("SELECT count(*), sum(amount) FROM payments") == [(KEYS, KEYS * 500)]
    assert await client.balance() == KEYS * 500
    totals = await client.rows("SELECT count(DISTINCT stripe_payment_intent_id) FROM payments")
    assert totals == [(KEYS,)]


async def _storm(client: payments.Client, key: str, room: asyncio.Semaphore) -> payments_pb2.Payment:
    """Make the same call many times at once, then once more, and return the one answer that all give."""
    async with room:
        seen = await asyncio.gather(*(_bytes(client, key) for _ in range(CALLS)))
        final = await _bytes(client, key)
    assert final is not None
    assert set(seen) <= {final, None}
    assert final in seen
    return payments_pb2.Payment.FromString(final)


async def _bytes(client: payments.Client, key: str) -> bytes | None:
    """Return an answer byte for byte, or None if the first call was still running."""
    try:
        payment = await client.process(key=key, amount=500, metadata={"order": key, "lines": [1, 2]})
    except grpc.aio.AioRpcError as error:
        assert errors.from_rpc_error(error).reason == "IDEMPOTENCY_KEY_IN_USE"  # noqa: PT017  # anything else fails
        return None
    return payment.SerializeToString(deterministic=True)


async def test_a_key_with_another_request_is_refused(client: payments.Client) -> None:
    await client.process(key="k", amount=500)
    for change in ({"amount": 501}, {"currency": "HTG"}, {"description": "x"}, {"card": "pm_card_mastercard"}):
        async with refused("IDEMPOTENCY_KEY_REUSED"):
            await client.process(**{"key": "k", "amount": 500, **change})
    async with refused("IDEMPOTENCY_KEY_REUSED"):
        await _create(client, key="k")
    assert await client.captured() == [500]


async def test_a_key_belongs_to_its_caller(client: payments.Client) -> None:
    mine, other = await client.process(key="k"), await client.process(key="k", user="bob")
    assert mine.id != other.id
    assert (await client.process(key="k"), await client.process(key="k", user="bob")) == (mine, other)


async def test_each_call_without_a_key_is_another(client: payments.Client) -> None:
    made = [await _create(client, key="") for _ in range(2)]
    assert made[0].id != made[1].id
    assert await client.rows("SELECT key FROM idempotency_keys") == []


async def test_a_replay_says_that_it_is_one(client: payments.Client) -> None:
    for replayed in (False, True):
        call = _create(client, key="k")
        await call
        trailers = dict(await call.trailing_metadata())
        assert ("idempotency-replayed" in trailers) is replayed


async def test_a_call_that_was_refused_leaves_its_key_free(client: payments.Client) -> None:
    await client.create(reference="R-1")
    for _ in range(2):
        async with refused("REFERENCE_TAKEN"):
            await client.process(key="k", reference="R-1")
    assert (await client.process(key="k", reference="R-2")).reference == "R-2"


async def test_a_deletion_is_replayed(client: payments.Client) -> None:
    payment = await client.create()
    request = payments_pb2.DeletePaymentRequest(id=payment.id)
    for _ in range(2):
        await client.stub.DeletePayment(request, metadata=by("root", "admin", key="k"))


async def test_a_cancellation_is_replayed(client: payments.Client) -> None:
    payment = await client.process(card="pm_card_threeDSecure2Required")
    admin = by("root", "admin", key="k")
    answers = [
        await client.update(payment, "status", metadata=admin, status=payments_pb2.PAYMENT_STATUS_CANCELLED)
        for _ in range(2)
    ]
    assert answers[0] == answers[1]


def _create(
    client: payments.Client, *, key: str
) -> grpc.aio.UnaryUnaryCall[payments_pb2.CreatePaymentRequest, payments_pb2.Payment]:
    request = payments_pb2.CreatePaymentRequest(amount=500, currency="USD", method=payments_pb2.PAYMENT_METHOD_STRIPE)
    call: grpc.aio.UnaryUnaryCall[payments_pb2.CreatePaymentRequest, payments_pb2.Payment]
    call = client.stub.CreatePayment(request, metadata=by(client.user, key=key))
    return call
