"""Providers' events as staff look through them."""

import datetime
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kobklein.payments.v1 import provider_events_pb2 as pb
from kobklein.payments.v1 import provider_events_pb2_grpc
from tests import payments
from tests.integration.test_webhooks_inbox import event
from tests.payments import AS_ADMIN, by, refused

UNAPPLIED = pb.PROVIDER_EVENT_STATE_UNAPPLIED
IGNORED = pb.PROVIDER_EVENT_STATE_IGNORED
SECRET = "pi_1_secret_canary"


@pytest.fixture
async def client(fresh: Callable[[], Awaitable[payments.Client]]) -> payments.Client:
    return await fresh()


async def _list(client: payments.Client, *, metadata: Any = AS_ADMIN, **conditions: Any) -> Any:
    async with payments.channel(client) as channel:
        stub = provider_events_pb2_grpc.ProviderEventsServiceStub(channel)
        return await stub.ListProviderEvents(pb.ListProviderEventsRequest(**conditions), metadata=metadata)


async def test_money_that_moved_at_the_provider_alone_is_listed_with_its_payment(client: payments.Client) -> None:
    payment = await client.process()
    content = {"object": "charge", "id": "ch_1", "payment_intent": payment.stripe_payment_intent_id}
    await client.receive(event("charge.refunded", {**content, "client_secret": SECRET}, created=1_700_000_000))
    await client.receive(event("customer.created", {"object": "customer", "id": "cus_1"}))
    (listed,) = (await _list(client, state=[UNAPPLIED])).events
    assert (listed.provider, listed.type, listed.object_id) == (
        "stripe",
        "charge.refunded",
        payment.stripe_payment_intent_id,
    )
    assert re.fullmatch("evt_[0-9a-f]{32}", listed.id)
    assert (listed.payment_id, listed.state, listed.attempts) == (payment.id, UNAPPLIED, 0)
    assert listed.outcome == "moves money, and has no effect here"
    assert listed.created_time.seconds == 1_700_000_000
    assert listed.received_time.ToDatetime() <= listed.applied_time.ToDatetime()
    assert SECRET not in str(listed)


async def test_every_filter_of_events_holds(client: payments.Client) -> None:
    payment = await client.process()
    content = {"object": "refund", "id": "re_1", "payment_intent": payment.stripe_payment_intent_id}
    for kind, body in (("refund.created", content), ("payout.paid", {"object": "payout", "id": "po_1"})):
        await client.receive(event(kind, body))
    await client.receive(event("customer.created", {"object": "customer", "id": "cus_1"}))
    customer, payout, refund = (await _list(client)).events
    for conditions, expected in (
        ({"state": [UNAPPLIED]}, [payout, refund]),
        ({"state": [UNAPPLIED, IGNORED]}, [customer, payout, refund]),
        ({"state": [pb.PROVIDER_EVENT_STATE_RECEIVED]}, []),
        ({"type": ["refund.created"]}, [refund]),
        ({"type": ["refund.created", "payout.paid"]}, [payout, refund]),
        ({"payment_id": payment.id}, [refund]),
        ({"payment_id": str(uuid.uuid4())}, []),
        ({"received_from": payout.received_time}, [customer, payout]),
        ({"received_before": payout.received_time}, [refund]),
        ({"state": [UNAPPLIED], "type": ["customer.created"]}, []),
    ):
        assert list((await _list(client, **conditions)).events) == expected, conditions


async def test_pages_of_events_join(client: payments.Client) -> None:
    for number in range(5):
        await client.receive(event("payout.paid", {"object": "payout", "id": f"po_{number}"}))
    seen, token = [], ""
    for expected in (2, 2, 1):
        page = await _list(client, state=[UNAPPLIED], page_size=2, page_token=token)
        assert len(page.events) == expected
        seen += [each.object_id for each in page.events]
        token = page.next_page_token
    assert (seen, token) == ([f"po_{number}" for number in (4, 3, 2, 1, 0)], "")
    token = (await _list(client, page_size=2)).next_page_token
    async with refused("INVALID_ARGUMENT", field="page_token"):
        await _list(client, state=[UNAPPLIED], page_token=token)


async def test_a_range_of_events_that_ends_before_it_starts_is_refused(client: payments.Client) -> None:
    later = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    async with refused("INVALID_ARGUMENT", field="received_before"):
        await _list(client, received_from=later, received_before=later - datetime.timedelta(days=1))


@pytest.mark.parametrize("role", ["user", "merchant", "distributor", "service"])
async def test_only_staff_list_events(client: payments.Client, role: str) -> None:
    async with refused("PERMISSION_DENIED"):
        await _list(client, metadata=by("caller", role))


@pytest.mark.parametrize("role", ["support", "finance"])
async def test_support_and_finance_list_events_too(client: payments.Client, role: str) -> None:
    assert list((await _list(client, metadata=by("caller", role))).events) == []
