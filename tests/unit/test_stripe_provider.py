"""The Stripe provider against a server that answers by script: what each answer means."""

import asyncio
import contextlib
import dataclasses
import datetime
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pydantic
import pytest
import stripe

from payments_service import providers
from payments_service.providers import Charge, Intent, Refused, Unknown
from payments_service.providers.stripe import API_VERSION, Stripe
from payments_service.settings import MoneyPathSettings, Settings, StripeSettings
from payments_service.states import IntentStatus

PAYMENT_ID = uuid.UUID("0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10")
CHARGE = Charge(
    payment_id=PAYMENT_ID,
    user_id="ana",
    reference="KP-1",
    amount=1_000,
    currency="USD",
    payment_method_id="pm_card_visa",
    key=f"{PAYMENT_ID}-authorise",
    asked_time=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
)
SUCCEEDED = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "succeeded",
    "amount": 1_000,
    "amount_received": 1_000,
    "currency": "usd",
    "metadata": {"payment_id": str(PAYMENT_ID)},
}
Answer = tuple[int, dict[str, Any], dict[str, str]]


class Script:
    """Answers requests in order, and remembers them."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        self.requests.append((head[0], headers, parse_qs(body)))
        status, answer, extra = self._answers.pop(0)
        text = json.dumps(answer)
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(text)}", *(f"{k}: {v}" for k, v in extra.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + text).encode())


@contextlib.asynccontextmanager
async def _provider(*answers: Answer, retries: int = 0) -> AsyncIterator[tuple[Stripe, Script]]:
    script = Script(*answers)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = StripeSettings(
        secret_key=pydantic.SecretStr("sk_test_x"),
        webhook_secrets=(pydantic.SecretStr("whsec_x"),),
        api_base=f"http://127.0.0.1:{port}",
        return_url="https://app.test/",
        retries=retries,
    )
    provider = Stripe(settings, timeout_seconds=5.0, live=None)
    try:
        yield provider, script
    finally:
        await provider.close()
        server.close()
        await server.wait_closed()


def _ok(body: dict[str, Any]) -> Answer:
    return 200, body, {}


def _error(status: int, *, replayed: bool = False, **error: Any) -> Answer:
    headers = {"idempotent-replayed": "true"} if replayed else {}
    return status, {"error": {"type": "invalid_request_error", "message": "No.", **error}}, headers


@pytest.mark.parametrize("status", ["canceled", "succeeded"])
async def test_an_intent_that_a_refused_request_leaves_is_cancelled_or_counts(status: str) -> None:
    left = {**SUCCEEDED, "status": "requires_payment_method", "amount_received": 0}
    refusal = _error(400, code="payment_method_unexpected_state", param="payment_method", payment_intent=left)
    async with _provider(refusal, _ok({**SUCCEEDED, "status": status})) as (provider, script):
        outcome = await provider.authorise(CHARGE)
    assert [line for line, _, _ in script.requests][1:] == ["POST /v1/payment_intents/pi_1/cancel HTTP/1.1"]
    if status == "canceled":
        assert isinstance(outcome, Refused)
        assert outcome.field == "payment_method_id"
    else:
        assert isinstance(outcome, Intent)
        assert outcome.status is IntentStatus.SUCCEEDED


async def test_a_charge_is_one_request_with_everything_that_finds_it_again() -> None:
    async with _provider(_ok(SUCCEEDED)) as (provider, script):
        outcome = await provider.authorise(CHARGE)
    assert outcome == Intent("pi_1", IntentStatus.SUCCEEDED, 1_000, "USD", 1_000, payment_id=PAYMENT_ID)
    ((line, headers, form),) = script.requests
    assert line == "POST /v1/payment_intents HTTP/1.1"
    assert headers["idempotency-key"] == f"{PAYMENT_ID}-authorise"
    assert headers["stripe-version"] == API_VERSION
    assert form["metadata[payment_id]"] == [str(PAYMENT_ID)]
    assert (form["amount"], form["currency"], form["confirm"]) == (["1000"], ["usd"], ["true"])


def test_the_pinned_version_is_the_one_that_the_sdk_was_made_for() -> None:
    assert stripe._api_version._ApiVersion.CURRENT == API_VERSION


async def test_a_declined_card_is_an_intent_with_its_decline() -> None:
    intent = {**SUCCEEDED, "status": "requires_payment_method", "amount_received": 0}
    declined = {"code": "card_declined", "decline_code": "lost_card", "payment_intent": intent, "type": "card_error"}
    async with _provider(_error(402, **declined)) as (provider, _):
        outcome = await provider.authorise(CHARGE)
    assert isinstance(outcome, Intent)
    assert outcome.status is IntentStatus.REQUIRES_PAYMENT_METHOD
    assert outcome.decline == providers.Decline("lost_card", "No.")


async def test_a_declined_card_without_intent_is_refused_with_its_code() -> None:
    async with _provider(_error(402, code="expired_card", type="card_error")) as (provider, _):
        assert await provider.authorise(CHARGE) == Refused("expired_card", "No.")


@pytest.mark.parametrize(
    ("currency", "message"),
    [
        ("USD", "must be at least 0.50 USD, the least that a card is charged"),
        ("JPY", "must be at least 50 JPY, the least that a card is charged"),
        ("HTG", "must be worth at least 0.50 USD in HTG, the least that a card is charged"),
    ],
)
async def test_an_amount_that_is_too_small_is_told_in_decimals(currency: str, message: str) -> None:
    charge = dataclasses.replace(CHARGE, currency=currency)
    async with _provider(_error(400, code="amount_too_small", param="amount")) as (provider, _):
        assert await provider.authorise(charge) == Refused("amount_too_small", message, "amount")


@pytest.mark.parametrize(
    ("param", "field"),
    [("payment_method", "payment_method_id"), ("amount", "amount"), ("currency", "currency"), ("confirm", "")],
)
async def test_an_invalid_request_is_refused_with_our_name_of_the_field(param: str, field: str) -> None:
    async with _provider(_error(400, code="parameter_invalid", param=param)) as (provider, _):
        assert await provider.authorise(CHARGE) == Refused("parameter_invalid", "No.", field)


@pytest.mark.parametrize(
    "answer",
    [
        _error(401),
        _error(403),
        _error(409, type="idempotency_error"),
        _error(400, type="idempotency_error"),
        _error(429),
        _error(500, type="api_error"),
        _error(503, type="api_error"),
        _ok({**SUCCEEDED, "status": "a_new_status"}),
        _ok({**SUCCEEDED, "currency": "xxx"}),
    ],
)
async def test_every_other_answer_leaves_the_outcome_unknown(answer: Answer) -> None:
    async with _provider(answer) as (provider, _):
        with pytest.raises(Unknown):
            await provider.authorise(CHARGE)


async def test_a_repeated_500_without_an_intent_is_a_refusal() -> None:
    empty = _ok({"object": "list", "data": [], "has_more": False, "url": "/v1/payment_intents"})
    async with _provider(_error(500, replayed=True), empty) as (provider, script):
        outcome = await provider.authorise(CHARGE)
    assert outcome == Refused("provider_error", "No.")
    assert "created[gte]=" in script.requests[1][0].replace("%5B", "[").replace("%5D", "]")


async def test_a_repeated_500_with_an_intent_is_that_intent() -> None:
    others = [{**SUCCEEDED, "id": f"pi_{number}", "metadata": {}} for number in range(3)]
    page = _ok({"object": "list", "data": [*others, SUCCEEDED], "has_more": False, "url": "/v1/payment_intents"})
    async with _provider(_error(500, replayed=True), page) as (provider, _):
        outcome = await provider.authorise(CHARGE)
    assert isinstance(outcome, Intent)
    assert outcome.id == "pi_1"


async def test_the_sdk_repeats_an_outage_with_the_same_key() -> None:
    async with _provider(_error(503, type="api_error"), _ok(SUCCEEDED), retries=1) as (provider, script):
        await provider.authorise(CHARGE)
    assert len({headers["idempotency-key"] for _, headers, _ in script.requests}) == 1


@pytest.mark.parametrize("call", ["confirm", "cancel"])
async def test_an_intent_that_has_moved_on_is_returned_as_it_is(call: str) -> None:
    moved = _error(400, code="payment_intent_unexpected_state")
    async with _provider(moved, _ok(SUCCEEDED)) as (provider, _):
        outcome = await getattr(provider, call)("pi_1")
    assert isinstance(outcome, Intent)
    assert outcome.status is IntentStatus.SUCCEEDED


@pytest.mark.parametrize("call", ["confirm", "cancel", "fetch"])
async def test_an_intent_that_the_provider_does_not_know_stays_unknown(call: str) -> None:
    async with _provider(_error(404, code="resource_missing")) as (provider, _):
        with pytest.raises(Unknown):
            await getattr(provider, call)("pi_1")


async def test_a_confirmation_that_is_declined_is_an_intent_with_its_decline() -> None:
    intent = {**SUCCEEDED, "status": "requires_payment_method", "amount_received": 0}
    async with _provider(_error(402, code="card_declined", payment_intent=intent)) as (provider, _):
        outcome = await provider.confirm("pi_1")
    assert isinstance(outcome, Intent)
    assert outcome.decline == providers.Decline("card_declined", "No.")


async def test_nobody_listening_leaves_the_outcome_unknown() -> None:
    async with _provider() as (provider, _):
        pass
    with pytest.raises(Unknown):
        await provider.fetch("pi_1")


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_webhook_secret_is_refused_at_the_start(blank: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        StripeSettings(secret_key="sk_test_x", webhook_secrets=("whsec_x", blank), return_url="https://app.test/")  # type: ignore[arg-type]  # as from the environment
    with pytest.raises(pydantic.ValidationError):
        StripeSettings(secret_key="sk_test_x", webhook_secrets=(), return_url="https://app.test/")  # type: ignore[arg-type]  # as above


def test_live_keys_belong_to_production_only() -> None:
    with pytest.raises(pydantic.ValidationError, match="live keys"):
        Settings(**{**_SETTINGS, "stripe": {**_SETTINGS["stripe"], "secret_key": "sk_live_x"}})


_SETTINGS: dict[str, Any] = {
    "auth": {"hs256_secret": "x" * 32},
    "database_url": "postgresql://x@127.0.0.1/x",
    "page_token_key": "00" * 32,
    "service_key_file": "/nowhere",
    "wallets_target": "127.0.0.1:1",
    "stripe": {"secret_key": "sk_test_x", "webhook_secrets": ["whsec_x"], "return_url": "https://app.test/"},
}


def test_every_attempt_to_connect_in_vain_ends_before_the_caller_has_waited_long_enough() -> None:
    fields = StripeSettings.model_fields
    retries, connect_seconds = fields["retries"].default, fields["connect_seconds"].default
    pauses = [stripe.HTTPXClient.INITIAL_DELAY * 2**number for number in range(retries)]
    assert (retries + 1) * connect_seconds + sum(pauses) < MoneyPathSettings().answer_seconds
