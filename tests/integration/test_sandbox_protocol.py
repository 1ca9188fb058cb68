"""The sandbox's HTTP: keys, headers, errors, idempotency, lists, expansion, shapes, faults, the process itself."""

import asyncio
import base64
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args, get_origin

import httpx
import pytest
import stripe

from deploy.sandbox import testing
from deploy.sandbox.settings import API_VERSION, Settings
from deploy.sandbox.testing import Sandbox

WISH = {"amount": "2000", "currency": "usd"}
PAY = {**WISH, "confirm": "true", "payment_method": "pm_card_visa", "allowed_payment_method_types[]": "card"}


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Sandbox]:
    async with testing.running(Settings(api_keys=("sk_test_sandbox", "sk_test_other"))) as sandbox:
        yield sandbox


async def post(
    sandbox: Sandbox, form: dict[str, str], *, key: str | None = None, path: str = "/v1/payment_intents", **headers: str
) -> httpx.Response:
    all_headers = {"Authorization": "Bearer sk_test_sandbox", **headers}
    if key is not None:
        all_headers["Idempotency-Key"] = key
    return await sandbox.http.post(path, data=form, headers=all_headers)


async def payments(sandbox: Sandbox) -> int:
    counts = (await sandbox.look("health"))["objects"]
    return int(counts.get("payment_intent", 0))


def error(response: httpx.Response) -> tuple[int, str, str | None]:
    details = response.json()["error"]
    return response.status_code, details["type"], details.get("code")


async def test_every_answer_carries_the_headers_of_the_original(sandbox: Sandbox) -> None:
    answer = await post(sandbox, WISH, key="k1")
    assert re.fullmatch(r"req_\w+", answer.headers["request-id"])
    assert answer.headers["stripe-version"] == API_VERSION
    assert answer.headers["idempotency-key"] == "k1"
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer sk_test_sandbox", 200),
        ("Basic " + base64.b64encode(b"sk_test_sandbox:").decode(), 200),
        ("Bearer sk_test_wrong", 401),
        ("Basic " + base64.b64encode(b"sk_test_wrong:").decode(), 401),
        ("Basic !", 401),
        ("Digest x", 401),
        ("", 401),
    ],
)
async def test_only_a_known_key_is_let_in(sandbox: Sandbox, header: str, status: int) -> None:
    assert (await post(sandbox, WISH, Authorization=header)).status_code == status


async def test_the_official_sdk_sees_a_wrong_key_as_such(sandbox: Sandbox) -> None:
    http = stripe.HTTPXClient()
    client = stripe.StripeClient("sk_test_wrong", base_addresses={"api": sandbox.url}, http_client=http)
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key provided: sk_test_"):
        await client.v1.balance.retrieve_async()
    await http.close_async()


async def test_json_bodies_are_refused(sandbox: Sandbox) -> None:
    headers = {"Authorization": "Bearer sk_test_sandbox"}
    answer = await sandbox.http.post("/v1/payment_intents", json={"amount": 100}, headers=headers)
    assert error(answer) == (400, "invalid_request_error", None)


async def test_a_body_beyond_the_limit_is_refused(sandbox: Sandbox) -> None:
    assert (await post(sandbox, {"description": "x" * 1_000_001})).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, None),
        ("PUT", "/v1/payment_intents", 404, None),
        ("GET", "/v1/payment_intents/pi_none", 404, "resource_missing"),
        ("GET", "/v1/payment_intents?foo=1", 400, "parameter_unknown"),
        ("GET", "/v1/payment_intents?limit=101", 400, "parameter_invalid_integer"),
        ("GET", "/v1/payment_intents?starting_after=pi_none", 404, "resource_missing"),
        ("GET", "/v1/charges?expand[]=data.foo", 400, None),
        ("GET", "/v1/balance?expand[]=a.b.c.d.e", 400, None),
    ],
)
async def test_what_is_not_there_is_refused_in_the_originals_words(
    sandbox: Sandbox, method: str, path: str, status: int, code: str | None
) -> None:
    await post(sandbox, PAY)
    answer = await sandbox.http.request(method, path, headers={"Authorization": "Bearer sk_test_sandbox"})
    assert error(answer) == (status, "invalid_request_error", code)


async def test_the_version_is_checked_and_echoed(sandbox: Sandbox) -> None:
    answer = await post(sandbox, WISH, **{"Stripe-Version": "2024-06-20"})
    assert answer.headers["stripe-version"] == "2024-06-20"
    assert (await post(sandbox, WISH, **{"Stripe-Version": "newest"})).status_code == 400


async def test_a_repeated_key_gets_the_first_answer_again(sandbox: Sandbox) -> None:
    first = await post(sandbox, PAY, key="k1")
    again = await post(sandbox, PAY, key="k1")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert await payments(sandbox) == 1


async def test_a_repeated_key_gets_a_decline_again(sandbox: Sandbox) -> None:
    declined = {**PAY, "payment_method": "pm_card_visa_chargeDeclined"}
    first, again = [await post(sandbox, declined, key="k1") for _ in range(2)]
    assert (first.status_code, again.content) == (402, first.content)
    assert await payments(sandbox) == 1


@pytest.mark.parametrize(
    ("form", "path"), [({**PAY, "amount": "2001"}, "/v1/payment_intents"), (PAY, "/v1/setup_intents")]
)
async def test_a_key_is_good_for_one_request_only(sandbox: Sandbox, form: dict[str, str], path: str) -> None:
    await post(sandbox, PAY, key="k1")
    if path == "/v1/setup_intents":
        form = {}
    assert error(await post(sandbox, form, key="k1", path=path)) == (400, "idempotency_error", None)


async def test_keys_of_different_api_keys_are_different(sandbox: Sandbox) -> None:
    await post(sandbox, PAY, key="k1")
    await post(sandbox, PAY, key="k1", Authorization="Bearer sk_test_other")
    assert await payments(sandbox) == 2


async def test_a_refused_parameter_does_not_use_the_key_up(sandbox: Sandbox) -> None:
    assert (await post(sandbox, {**PAY, "amount": "1"}, key="k1")).status_code == 400
    assert (await post(sandbox, PAY, key="k1")).status_code == 200


async def test_a_refusal_during_execution_is_kept(sandbox: Sandbox) -> None:
    form = {"payment_intent": "pi_none"}
    first, again = [await post(sandbox, form, key="k1", path="/v1/refunds") for _ in range(2)]
    assert (first.status_code, again.headers.get("idempotent-replayed")) == (404, "true")


async def test_a_key_is_forgotten_after_a_day(sandbox: Sandbox) -> None:
    await post(sandbox, PAY, key="k1")
    await sandbox.control("clock", seconds=86_399)
    await post(sandbox, PAY, key="k1")
    assert await payments(sandbox) == 1
    await sandbox.control("clock", seconds=1)
    await post(sandbox, PAY, key="k1")
    assert await payments(sandbox) == 2


async def test_of_many_concurrent_requests_with_one_key_one_has_an_effect(sandbox: Sandbox) -> None:
    await sandbox.control("faults", kind="delay", delay_seconds=0.1, count=1)
    answers = await asyncio.gather(*(post(sandbox, PAY, key="k1") for _ in range(20)))
    assert sorted({answer.status_code for answer in answers}) == [200, 409]
    busy = next(answer for answer in answers if answer.status_code == 409)
    assert error(busy) == (409, "idempotency_error", "idempotency_key_in_use")
    assert await payments(sandbox) == 1


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("error_500", 500, None), ("rate_limit_429", 429, "rate_limit"), ("conflict_409", 409, "lock_timeout")],
)
async def test_a_fault_before_execution_has_no_effect_and_uses_no_key(
    sandbox: Sandbox, kind: str, status: int, code: str | None
) -> None:
    await sandbox.control("faults", kind=kind, method="POST", path="/v1/payment_intents", count=1)
    refused = await post(sandbox, PAY, key="k1")
    assert (refused.status_code, refused.json()["error"].get("code")) == (status, code)
    assert await payments(sandbox) == 0
    assert (await post(sandbox, PAY, key="k1")).status_code == 200


async def test_an_error_after_success_is_kept_with_the_effect(sandbox: Sandbox) -> None:
    await sandbox.control("faults", kind="error_500_after_success", count=1)
    answers = [await post(sandbox, PAY, key="k1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert await payments(sandbox) == 1


async def test_a_dropped_answer_is_found_again_with_its_key(sandbox: Sandbox) -> None:
    await sandbox.control("faults", kind="drop_after_success", count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await post(sandbox, PAY, key="k1")
    assert await payments(sandbox) == 1
    again = await post(sandbox, PAY, key="k1")
    assert (again.json()["status"], again.headers["idempotent-replayed"]) == ("succeeded", "true")
    assert await payments(sandbox) == 1


async def test_the_official_sdk_survives_faults_by_retrying(sandbox: Sandbox, server: Sandbox) -> None:
    http = stripe.HTTPXClient()
    client = stripe.StripeClient(
        "sk_test_sandbox", base_addresses={"api": server.url}, http_client=http, max_network_retries=2
    )
    for kind in ("conflict_409", "drop_after_success"):
        await sandbox.control("faults", kind=kind, method="POST", path="/v1/payment_intents", count=1)
    wish = {"amount": 2_000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    intent = await client.v1.payment_intents.create_async({**wish, "return_url": "https://a.test"})
    assert (intent.status, await payments(sandbox)) == ("succeeded", 1)
    await http.close_async()


async def test_faults_are_listed_and_removed(sandbox: Sandbox) -> None:
    first = await sandbox.control("faults", kind="error_500", path="/v1/refunds")
    await sandbox.control("faults", kind="delay", delay_seconds=0, probability=0.5, seed=1)
    assert [fault["kind"] for fault in (await sandbox.look("faults"))["faults"]] == ["error_500", "delay"]
    await sandbox.http.delete(f"/_sandbox/faults/{first['id']}")
    assert len((await sandbox.look("faults"))["faults"]) == 1
    assert (await sandbox.http.delete(f"/_sandbox/faults/{first['id']}")).status_code == 404
    await sandbox.http.delete("/_sandbox/faults")
    assert (await sandbox.look("faults"))["faults"] == []


@pytest.mark.parametrize("body", [b'{"kind": "flood"}', b"[]", b"{", b'{"kind": "delay", "often": 1}'])
async def test_a_wrong_control_is_refused(sandbox: Sandbox, body: bytes) -> None:
    assert error(await sandbox.http.post("/_sandbox/faults", content=body)) == (400, "invalid_request_error", None)


async def test_lists_are_walked_in_both_directions(sandbox: Sandbox, api: Any) -> None:
    created = [(await api.customers.create_async({"email": f"{n}@a.test"})).id for n in range(5)][::-1]
    first = await api.customers.list_async({"limit": 2})
    assert ([each.id for each in first.data], first.has_more, first.url) == (created[:2], True, "/v1/customers")
    assert [each.id async for each in first.auto_paging_iter()] == created
    before = await api.customers.list_async({"limit": 2, "ending_before": created[3]})
    assert ([each.id for each in before.data], before.has_more) == (created[1:3], True)


async def test_lists_are_narrowed_by_time(sandbox: Sandbox, api: Any) -> None:
    await api.customers.create_async()
    await sandbox.control("clock", seconds=1_000)
    late = await api.customers.create_async()
    found = await api.customers.list_async({"created": {"gte": late.created}})
    assert [each.id for each in found.data] == [late.id]
    assert len((await api.customers.list_async({"created": {"lt": late.created}})).data) == 1


async def test_ids_are_expanded_at_every_level_and_in_lists(sandbox: Sandbox, api: Any) -> None:
    await post(sandbox, PAY)
    paths = ["data.latest_charge.balance_transaction", "data.payment_method"]
    intent = (await api.payment_intents.list_async({"expand": paths})).data[0]
    assert intent.latest_charge.balance_transaction.object == "balance_transaction"
    assert intent.payment_method.card.last4 == "4242"


async def test_events_are_kept_with_the_request_that_caused_them(sandbox: Sandbox, api: Any) -> None:
    answer = await post(sandbox, PAY, key="k1")
    events = (await api.events.list_async({"types": ["payment_intent.succeeded", "charge.succeeded"]})).data
    assert [event.type for event in events] == ["payment_intent.succeeded", "charge.succeeded"]
    event = await api.events.retrieve_async(events[0].id)
    assert event.request.to_dict() == {"id": answer.headers["request-id"], "idempotency_key": "k1"}
    assert (event.api_version, event.data.object.id) == (API_VERSION, answer.json()["id"])


SHAPES = {
    "payment_intent": stripe.PaymentIntent,
    "charge": stripe.Charge,
    "refund": stripe.Refund,
    "dispute": stripe.Dispute,
    "customer": stripe.Customer,
    "payment_method": stripe.PaymentMethod,
    "setup_intent": stripe.SetupIntent,
    "event": stripe.Event,
    "balance_transaction": stripe.BalanceTransaction,
    "webhook_endpoint": stripe.WebhookEndpoint,
}


def optional(hint: Any) -> bool:
    return get_origin(hint) is not None and type(None) in get_args(hint)


async def everything(sandbox: Sandbox, api: Any) -> dict[str, dict[str, Any]]:
    """One object of each kind, as JSON."""
    customer = await api.customers.create_async({"payment_method": "pm_card_visa"})
    await api.setup_intents.create_async({"customer": customer.id})
    await api.webhook_endpoints.create_async({"url": "http://127.0.0.1:9/", "enabled_events": ["payout.paid"]})
    intent = (await post(sandbox, {**PAY, "payment_method": "pm_card_createDispute"})).json()
    refunded = (await post(sandbox, PAY)).json()
    await post(sandbox, {"payment_intent": refunded["id"]}, path="/v1/refunds")
    headers = {"Authorization": "Bearer sk_test_sandbox"}
    found = {"payment_intent": intent}
    for kind in SHAPES.keys() - {"payment_intent"}:
        query = f"?customer={customer.id}" if kind == "payment_method" else ""
        found[kind] = (await sandbox.http.get(f"/v1/{kind}s{query}", headers=headers)).json()["data"][0]
    return found


async def test_every_object_has_the_members_that_the_official_sdk_declares(sandbox: Sandbox, api: Any) -> None:
    for kind, item in (await everything(sandbox, api)).items():
        hints = SHAPES[kind].__annotations__
        assert item.keys() - hints.keys() == set(), kind
        needed = {name for name, hint in hints.items() if not optional(hint) and name != "OBJECT_NAME"}
        assert needed - item.keys() == set(), kind
        assert all(item[name] is not None for name in needed if name != "source"), kind


async def test_the_page_lists_what_the_sandbox_holds_and_escapes_it(sandbox: Sandbox, api: Any) -> None:
    await api.customers.create_async({"email": "<script>alert(1)</script>"})
    page = (await sandbox.http.get("/")).text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


async def test_every_control_is_listed_with_what_it_does(sandbox: Sandbox) -> None:
    controls = (await sandbox.http.get("/_sandbox")).json()["controls"]
    assert {"method": "POST", "path": "/_sandbox/reset"}.items() <= controls[2].items()
    assert all(control["does"] for control in controls)


async def start(*arguments: str, **environment: str) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.sandbox",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    return process, line.split()[-1]


async def test_the_process_serves_keeps_its_data_and_stops_cleanly(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--data", str(tmp_path / "state.sqlite"))
    identifier = ""
    for _ in range(2):
        process, url = await start(*arguments, SANDBOX_API_KEYS="sk_test_other, sk_test_mine")
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer sk_test_mine"}) as http:
            if not identifier:
                identifier = (await http.post("/v1/payment_intents", data=PAY)).json()["id"]
            assert (await http.get(f"/v1/payment_intents/{identifier}")).json()["status"] == "succeeded"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert time.monotonic() - began < 5
