"""What Stripe refuses, adds or leaves out, where the sandbox once did otherwise."""

import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import stripe

from deploy.sandbox import testing
from deploy.sandbox.settings import API_VERSION, Settings
from deploy.sandbox.testing import Receiver, Sandbox

CARD = {"number": "4242424242424242", "exp_month": 4, "exp_year": 2031}
PAYMENT: dict[str, Any] = {
    "amount": 2_000,
    "currency": "usd",
    "confirm": True,
    "allowed_payment_method_types": ["card"],
}


async def paid(api: Any, method: str = "pm_card_visa", **members: Any) -> Any:
    return await api.payment_intents.create_async(
        {**PAYMENT, "payment_method": method, "expand": ["latest_charge"], **members}
    )


@pytest.mark.parametrize("use", ["payment", "setup", "attach", "update"])
async def test_a_deleted_customer_is_missing(sandbox: Sandbox, api: Any, use: str) -> None:
    gone = (await api.customers.create_async()).id
    await api.customers.delete_async(gone)
    uses: dict[str, Callable[[], Awaitable[Any]]] = {
        "payment": lambda: paid(api, customer=gone),
        "setup": lambda: api.setup_intents.create_async({"customer": gone}),
        "attach": lambda: api.payment_methods.attach_async("pm_card_visa", {"customer": gone}),
        "update": lambda: api.customers.update_async(gone, {"name": "N"}),
    }
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await uses[use]()
    assert refused.value.code == "resource_missing"


@pytest.mark.parametrize("use", ["attach", "payment"])
async def test_a_detached_payment_method_is_of_no_more_use(sandbox: Sandbox, api: Any, use: str) -> None:
    customer = (await api.customers.create_async()).id
    method = (await api.payment_methods.attach_async("pm_card_visa", {"customer": customer})).id
    await api.payment_methods.detach_async(method)
    again = api.payment_methods.attach_async(method, {"customer": customer}) if use == "attach" else paid(api, method)
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        await again
    assert (await api.payment_methods.retrieve_async(method)).customer is None


@pytest.mark.parametrize(
    ("expiry", "code"),
    [
        ({"exp_year": 2020}, "invalid_expiry_year"),
        ({"exp_year": 19}, "invalid_expiry_year"),
        ({"exp_year": -1}, "invalid_expiry_year"),
        ({"exp_year": 2999}, "invalid_expiry_year"),
        ({"exp_month": 13}, "invalid_expiry_month"),
        ({"exp_month": 0}, "invalid_expiry_month"),
    ],
)
async def test_an_expiry_that_cannot_be_is_refused(
    sandbox: Sandbox, api: Any, expiry: dict[str, int], code: str
) -> None:
    with pytest.raises(stripe.CardError) as refused:
        await api.payment_methods.create_async({"type": "card", "card": CARD | expiry})
    assert (refused.value.code, refused.value.http_status) == (code, 402)


async def test_a_card_is_good_until_the_end_of_its_month(sandbox: Sandbox, api: Any) -> None:
    now = datetime.datetime.fromtimestamp((await sandbox.look("clock"))["now"], datetime.UTC)
    this_month = {"exp_month": now.month, "exp_year": now.year}
    assert (await api.payment_methods.create_async({"type": "card", "card": CARD | this_month})).id
    before = now.replace(day=1) - datetime.timedelta(days=1)
    with pytest.raises(stripe.CardError) as refused:
        await api.payment_methods.create_async(
            {"type": "card", "card": CARD | {"exp_month": before.month, "exp_year": before.year}}
        )
    assert refused.value.code in ("invalid_expiry_month", "invalid_expiry_year")


@pytest.mark.parametrize("events", [["charge.gone"], ["charge.*"], ["*", ""]])
async def test_an_endpoint_cannot_ask_for_events_that_do_not_exist(
    sandbox: Sandbox, api: Any, events: list[str]
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await api.webhook_endpoints.create_async({"url": "http://127.0.0.1:9/", "enabled_events": events})
    assert str(refused.value.param).startswith("enabled_events[")


@pytest.mark.parametrize("amount", [-1, 0])
async def test_an_amount_is_at_least_one(sandbox: Sandbox, api: Any, amount: int) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="greater than or equal to 1") as refused:
        await api.payment_intents.create_async({"amount": amount, "currency": "usd"})
    assert (refused.value.code, refused.value.param) == ("parameter_invalid_integer", "amount")


@pytest.mark.parametrize("resource", ["payment_intents", "charges", "customers"])
async def test_a_search_is_said_not_to_be_there(sandbox: Sandbox, resource: str) -> None:
    answer = await sandbox.http.get(f"/v1/{resource}/search?query=a", auth=("sk_test_sandbox", ""))
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        404,
        f"Unrecognized request URL (GET: /v1/{resource}/search). The sandbox does not serve this path.",
    )


async def test_an_error_names_its_line_in_the_log(sandbox: Sandbox) -> None:
    answer = await sandbox.http.post("/v1/payment_intents", data={}, auth=("sk_test_sandbox", ""))
    assert answer.json()["error"]["request_log_url"].endswith(f"/test/logs/{answer.headers['request-id']}")


async def test_a_replayed_error_names_the_line_of_the_first_request(sandbox: Sandbox) -> None:
    async def ask() -> Any:
        wish = {"amount": "2000", "currency": "usd", "payment_method": "pm_gone"}
        headers = {"Idempotency-Key": "k"}
        answer = await sandbox.http.post(
            "/v1/payment_intents", data=wish, headers=headers, auth=("sk_test_sandbox", "")
        )
        return answer.json()["error"]

    assert await ask() == await ask()


async def test_an_endpoint_gets_its_events_under_its_own_version() -> None:
    old, usual = Receiver(), Receiver()
    async with (
        old.listening() as old_url,
        usual.listening() as usual_url,
        testing.running(Settings(webhook_url=usual_url)) as sandbox,
    ):
        auth = ("sk_test_sandbox", "")
        wish = {"url": old_url, "enabled_events[]": "*", "api_version": "2020-08-27"}
        endpoint = (await sandbox.http.post("/v1/webhook_endpoints", data=wish, auth=auth)).json()
        await sandbox.http.post("/v1/customers", auth=auth)
        await sandbox.control("webhooks/wait", timeout_seconds=10)
        wrong = await sandbox.http.post("/v1/webhook_endpoints", data=wish | {"api_version": "newest"}, auth=auth)
    assert endpoint["api_version"] == "2020-08-27"
    assert [each.event["api_version"] for each in (*old.received, *usual.received)] == ["2020-08-27", API_VERSION]
    stripe.Webhook.construct_event(old.received[0].body, old.received[0].signature, endpoint["secret"])
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "api_version")


@pytest.mark.parametrize("refunded", [500, 2_000])
async def test_a_bank_disputes_the_whole_charge_whatever_was_refunded(
    sandbox: Sandbox, api: Any, refunded: int
) -> None:
    intent = await paid(api)
    await api.refunds.create_async({"payment_intent": intent.id, "amount": refunded})
    dispute = await sandbox.control("disputes", payment_intent=intent.id)
    assert dispute["amount"] == 2_000
    totals = (await sandbox.look("ledger", payment_intent=intent.id))["totals"]["usd"]
    assert (totals["charge"], totals["refund"], totals["dispute"]) == (2_000, -refunded, -2_000)


async def test_what_does_not_apply_is_absent_and_what_is_unknown_is_null(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api)
    refund = await api.refunds.create_async({"payment_intent": intent.id})
    bank = await paid(api, "pm_usBankAccount_success", allowed_payment_method_types=["us_bank_account"])
    assert "pending_reason" not in refund
    assert "mandate" not in bank.latest_charge.payment_method_details.us_bank_account
    assert (intent.managed_payments, intent.payment_record) == (None, None)
    card = intent.latest_charge.payment_method_details.card
    assert (card.electronic_commerce_indicator, card.transaction_link_id) == ("07", None)


async def test_a_refund_that_arrives_waits_for_nothing(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api, "pm_card_pendingRefund")
    waiting = await api.refunds.create_async({"payment_intent": intent.id})
    assert waiting.pending_reason == "processing"
    assert "pending_reason" not in await api.refunds.retrieve_async(waiting.id)


async def test_an_expansion_leads_into_members_and_past_what_is_empty(sandbox: Sandbox, api: Any) -> None:
    customer = await api.customers.create_async({"payment_method": "pm_card_visa"})
    method = (await api.payment_methods.list_async({"customer": customer.id})).data[0].id
    await api.customers.update_async(customer.id, {"invoice_settings": {"default_payment_method": method}})
    wish = {"expand": ["invoice_settings.default_payment_method", "default_source", "test_clock"]}
    found = await api.customers.retrieve_async(customer.id, wish)
    assert found.invoice_settings.default_payment_method.id == method
    intent = await paid(
        api, customer=customer.id, expand=["customer.invoice_settings.default_payment_method", "application"]
    )
    assert intent.customer.invoice_settings.default_payment_method.card.last4 == "4242"
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        await api.customers.retrieve_async(customer.id, {"expand": ["invoice_settings"]})


async def test_the_ledger_of_one_payment_has_its_totals_alone(sandbox: Sandbox, api: Any) -> None:
    first, _ = await paid(api), await paid(api)
    ledger = await sandbox.look("ledger", payment_intent=first.id)
    assert (ledger["totals"]["usd"]["net"], len(ledger["movements"])) == (2_000, 1)
    assert (await sandbox.look("ledger"))["totals"]["usd"]["net"] == 4_000


async def test_the_page_shows_money_times_and_what_can_be_done(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api, amount=123_456)
    page = (await sandbox.http.get("/")).text
    assert "1,234.56 USD" in page
    assert f'<a href="/_sandbox/objects/{intent.id}">' in page
    button = f"/_sandbox/charges/{intent.latest_charge.id}/dispute"
    assert f'action="{button}"' in page
    pressed = await sandbox.http.post(button, headers={"Accept": "text/html"})
    assert (pressed.status_code, pressed.headers["location"]) == (303, "/")
    assert (await api.disputes.list_async()).data[0].amount == 123_456
    shown = (await sandbox.http.get(f"/_sandbox/objects/{intent.id}")).json()
    assert shown["object"] == "payment_intent"
    assert (await sandbox.http.get("/_sandbox/objects/we_configured_secret")).status_code == 404


async def test_the_page_of_the_bank_shows_money_as_people_write_it(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api, "pm_card_threeDSecure2Required", amount=1_250, currency="kwd", return_url="http://a.test/")
    page = (await sandbox.http.get(intent.next_action.redirect_to_url.url)).text
    assert "1.250 KWD" in page


async def test_the_card_of_the_guides_examples_pays(sandbox: Sandbox, api: Any) -> None:
    assert (await paid(api, "pm_1234567890")).status == "succeeded"
