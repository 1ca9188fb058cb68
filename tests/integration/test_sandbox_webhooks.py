"""Webhooks of the sandbox: signed, retried, filtered, and disturbed on request."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import stripe

from deploy.sandbox import testing
from deploy.sandbox.settings import Settings
from deploy.sandbox.testing import Receiver, Sandbox

SECRET = "whsec_for_these_tests"
PAYMENT = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"]
PAY = {
    "amount": "2000",
    "currency": "usd",
    "confirm": "true",
    "payment_method": "pm_card_visa",
    "allowed_payment_method_types[]": "card",
}


@dataclass
class Stand:
    """A sandbox and the receiver it delivers to."""

    sandbox: Sandbox
    receiver: Receiver
    hook: str

    async def pay(self, **headers: str) -> dict[str, Any]:
        answer = await self.sandbox.http.post("/v1/payment_intents", data=PAY, headers={**KEY, **headers})
        intent: dict[str, Any] = answer.json()
        return intent

    async def rest(self) -> None:
        assert (await self.sandbox.control("webhooks/wait"))["idle"]


KEY = {"Authorization": "Bearer sk_test_sandbox"}
FAST = {"webhook_backoff_seconds": 0.01, "webhook_tries": 4, "webhook_timeout_seconds": 5}


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Stand]:
    receiver = Receiver()
    async with receiver.listening() as hook:
        settings = Settings(webhook_url=hook, webhook_secret=SECRET, webhook_parallel=4, **FAST)
        async with testing.running(settings) as sandbox:
            yield Stand(sandbox, receiver, hook)


@pytest.fixture
async def stand(server: Stand) -> AsyncIterator[Stand]:
    await server.sandbox.control("reset")
    server.receiver.received.clear()
    server.receiver.answers.clear()
    yield server
    server.receiver.gate.set()
    await server.rest()


async def test_every_event_is_delivered_signed_and_as_the_api_tells_it(stand: Stand) -> None:
    intent = await stand.pay(**{"Idempotency-Key": "k1"})
    await stand.rest()
    assert sorted(stand.receiver.types) == sorted(PAYMENT)
    for received in stand.receiver.received:
        event = stripe.Webhook.construct_event(received.body, received.signature, SECRET)
        assert event.request is not None
        assert event.request.idempotency_key == "k1"
        told = (await stand.sandbox.http.get(f"/v1/events/{event.id}", headers=KEY)).json()
        assert told == {**received.event, "pending_webhooks": 0}
    succeeded = next(each.event for each in stand.receiver.received if each.event["type"] == PAYMENT[2])
    assert succeeded["data"]["object"] == intent


async def test_what_is_not_taken_is_tried_again_and_logged(stand: Stand) -> None:
    stand.receiver.answers.extend([500, 302, 404, 200])
    customer = await stand.sandbox.http.post("/v1/customers", headers=KEY)
    await stand.rest()
    log = (await stand.sandbox.look("webhooks/deliveries"))["deliveries"]
    assert [(each["type"], each["status"]) for each in log] == [("customer.created", "delivered")]
    assert [attempt["status"] for attempt in log[0]["attempts"]] == [500, 302, 404, 200]
    assert len({received.body for received in stand.receiver.received}) == 1
    assert stand.receiver.received[0].event["data"]["object"] == customer.json()


async def test_a_delivery_is_given_up_after_its_tries_and_can_be_made_again(stand: Stand) -> None:
    stand.receiver.answers.extend([503] * 4)
    await stand.sandbox.http.post("/v1/customers", headers=KEY)
    await stand.rest()
    log = (await stand.sandbox.look("webhooks/deliveries", status="failed"))["deliveries"]
    assert len(log[0]["attempts"]) == 4
    await stand.sandbox.control(f"events/{log[0]['event']}/deliver")
    await stand.rest()
    assert (await stand.sandbox.look("webhooks"))["deliveries"] == {"delivered": 1}
    assert len(stand.receiver.received) == 5


async def test_only_so_many_deliveries_are_under_way_at_once(stand: Stand) -> None:
    stand.receiver.gate.clear()
    await stand.pay()
    await stand.pay()
    await stand.receiver.until(lambda receiver: receiver.waiting == 4)
    assert (await stand.sandbox.look("webhooks"))["open"] == 8
    stand.receiver.gate.set()
    await stand.rest()
    assert len(stand.receiver.received) == 8


async def test_an_event_is_delivered_as_often_as_asked(stand: Stand) -> None:
    await stand.sandbox.control("webhooks/rules", kind="duplicate", types=["payment_intent.succeeded"], times=2)
    await stand.pay()
    await stand.rest()
    assert stand.receiver.types.count("payment_intent.succeeded") == 3
    assert len(stand.receiver.received) == 6


async def test_each_copy_of_an_event_is_tried_until_it_is_taken(stand: Stand) -> None:
    await stand.sandbox.control("webhooks/rules", kind="duplicate", times=2)
    stand.receiver.answers.extend([500] * 6)
    await stand.sandbox.http.post("/v1/customers", headers=KEY)
    await stand.rest()
    log = (await stand.sandbox.look("webhooks/deliveries"))["deliveries"]
    assert [attempt["status"] for attempt in log[0]["attempts"]] == [500] * 6 + [200] * 3


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "status=lost"])
async def test_the_log_is_asked_for_sensibly(stand: Stand, query: str) -> None:
    assert (await stand.sandbox.http.get(f"/_sandbox/webhooks/deliveries?{query}")).status_code == 400


@pytest.mark.parametrize("url", ["ftp://a.test", "http://", "example.test/hook", "http://a.test:99999999/"])
async def test_an_endpoint_needs_an_address(stand: Stand, url: str) -> None:
    wish = {"url": url, "enabled_events[]": "*"}
    answer = await stand.sandbox.http.post("/v1/webhook_endpoints", data=wish, headers=KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "url_invalid")


async def test_a_withheld_event_is_never_delivered_but_still_told(stand: Stand) -> None:
    await stand.sandbox.control("webhooks/rules", kind="withhold", types=["payment_intent.*"], count=2)
    await stand.pay()
    await stand.rest()
    assert sorted(stand.receiver.types) == ["charge.succeeded", "charge.updated"]
    events = (await stand.sandbox.http.get("/v1/events?type=payment_intent.*", headers=KEY)).json()["data"]
    assert [(event["type"], event["pending_webhooks"]) for event in events] == [(PAYMENT[2], 1), (PAYMENT[0], 1)]
    await stand.pay()
    await stand.rest()
    assert len(stand.receiver.received) == 6


@pytest.mark.parametrize(("order", "expected"), [("kept", PAYMENT), ("reversed", PAYMENT[::-1])])
async def test_held_events_arrive_in_the_order_of_their_release(stand: Stand, order: str, expected: list[str]) -> None:
    await stand.sandbox.control("webhooks/hold")
    await stand.pay()
    assert [each["type"] for each in (await stand.sandbox.look("webhooks"))["held"]] == PAYMENT
    assert stand.receiver.received == []
    await stand.sandbox.control("webhooks/release", order=order)
    assert stand.receiver.types == expected


async def test_single_held_events_can_be_released_first(stand: Stand) -> None:
    await stand.sandbox.control("webhooks/hold", types=["payment_intent.*"])
    await stand.pay()
    await stand.rest()
    held = (await stand.sandbox.look("webhooks"))["held"]
    await stand.sandbox.control("webhooks/release", events=[held[1]["event"]])
    await stand.sandbox.control("webhooks/release")
    assert stand.receiver.types[2:] == ["payment_intent.succeeded", "payment_intent.created"]


async def test_an_endpoint_gets_what_it_enabled_under_its_own_secret(stand: Stand) -> None:
    http = stripe.HTTPXClient()
    api = stripe.StripeClient("sk_test_sandbox", base_addresses={"api": stand.sandbox.url}, http_client=http).v1
    other = Receiver()
    async with other.listening() as url:
        wish: Any = {"url": url, "enabled_events": ["charge.succeeded", "charge.updated"], "metadata": {"for": "test"}}
        endpoint = await api.webhook_endpoints.create_async(wish)
        assert endpoint.secret is not None
        assert "secret" not in (await api.webhook_endpoints.retrieve_async(endpoint.id))
        await stand.pay()
        await stand.rest()
        assert sorted(other.types) == ["charge.succeeded", "charge.updated"]
        assert len(stand.receiver.received) == 4
        stripe.Webhook.construct_event(other.received[0].body, other.received[0].signature, endpoint.secret)
        updated = await api.webhook_endpoints.update_async(endpoint.id, {"disabled": True, "description": "off"})
        assert (updated.status, updated.description) == ("disabled", "off")
        await stand.pay()
        await stand.rest()
        assert len(other.received) == 2
        assert (await api.webhook_endpoints.delete_async(endpoint.id)).deleted
        assert len((await api.webhook_endpoints.list_async()).data) == 1
    await http.close_async()


async def test_an_endpoint_that_hangs_or_is_gone_is_logged_with_the_reason(stand: Stand) -> None:
    receiver = Receiver()
    receiver.gate.clear()
    async with receiver.listening() as url:
        settings = Settings(webhook_url=url, webhook_timeout_seconds=0.05, webhook_tries=1)
        async with testing.running(settings) as sandbox:
            await sandbox.http.post("/v1/customers", headers=KEY)
            await sandbox.control("webhooks/wait")
            log = (await sandbox.look("webhooks/deliveries"))["deliveries"]
            assert log[0]["attempts"][0]["error"] == "no answer within 0.05 seconds"
        receiver.gate.set()
    async with testing.running(Settings(webhook_url=url, webhook_tries=1)) as sandbox:
        await sandbox.http.post("/v1/customers", headers=KEY)
        await sandbox.control("webhooks/wait")
        log = (await sandbox.look("webhooks/deliveries"))["deliveries"]
        assert (log[0]["status"], log[0]["attempts"][0]["error"].split(":")[0]) == ("failed", "ConnectionRefusedError")


async def test_what_was_not_delivered_leaves_after_a_restart(stand: Stand, tmp_path: Path) -> None:
    data = tmp_path / "state.sqlite"
    async with testing.running(Settings(webhook_url="http://127.0.0.1:9/", data=data)) as sandbox:
        await sandbox.http.post("/v1/customers", headers=KEY)
    async with testing.running(Settings(webhook_url=stand.hook, webhook_secret=SECRET, data=data)) as sandbox:
        assert (await sandbox.control("webhooks/wait"))["idle"]
    assert stand.receiver.types == ["customer.created"]
    received = stand.receiver.received[0]
    stripe.Webhook.construct_event(received.body, received.signature, SECRET)


async def test_nothing_is_delivered_for_a_request_that_failed(stand: Stand) -> None:
    answer = await stand.sandbox.http.post("/v1/payment_intents", data={**PAY, "payment_method": "pm_x"}, headers=KEY)
    assert answer.status_code == 404
    await stand.rest()
    assert stand.receiver.received == []
