"""Currencies that the ledger offers: checked where something new begins, and never against what exists."""

import uuid
from collections.abc import AsyncIterator

import grpc
import pytest

from kobklein import errors
from kobklein.wallets.v1 import conversions_pb2, holds_pb2, transfers_pb2, wallets_pb2
from tests import conversions, databases, holds, transfers, wallets, wallets_gateway

REFUSED = errors.Status(
    code=grpc.StatusCode.INVALID_ARGUMENT,
    message="currency: EUR is not offered; offered are HTG, USD",
    reason="CURRENCY_NOT_OFFERED",
    metadata={"currency": "EUR", "offered": "HTG, USD"},
    violations=(errors.Violation("currency", "EUR is not offered; offered are HTG, USD"),),
    http_status=400,
)


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database, currencies=("HTG", "USD")) as client:
        await client.fund("ana", 10_000, "EUR")
        await client.fund("ben", 1)
        yield client
        assert (await client.verify()).balanced


async def test_nothing_new_begins_in_another_currency_and_the_key_stays_free(client: wallets.Client) -> None:
    for dry_run in (True, False):
        sent = transfers.send(client, "ana", "ben", 5, currency="EUR", key="k", dry_run=dry_run)
        assert await wallets.refused(sent) == REFUSED
    assert await wallets.refused(holds.create(client, currency="EUR", key="h")) == REFUSED
    opened = wallets_pb2.CreateWalletRequest(currency="EUR")
    assert await wallets.refused(client.wallets.CreateWallet(opened, metadata=transfers.user("ben", "w"))) == REFUSED
    quoted = await wallets.refused(conversions.quote(client, sell=(100, "USD"), buy=(None, "EUR"), key="q"))
    assert (quoted.reason, [each.field for each in quoted.violations]) == ("CURRENCY_NOT_OFFERED", ["buy.currency"])
    await client.fund("ana", 5)
    assert (await transfers.send(client, "ana", "ben", 5, key="k")).currency == "HTG"


async def test_what_exists_in_another_currency_goes_on_to_its_end(wallets_database: databases.Database) -> None:
    """Begun while it was offered; then repeated, posted, given back, reversed, sold and paid out."""
    async with wallets.running(wallets_database) as before:
        await before.fund("ana", 10_000, "EUR")
        sent = await transfers.send(before, "ana", "ben", 700, currency="EUR", key="k")
        posted, voided = [await holds.create(before, currency="EUR", key=key) for key in ("p", "v")]
        await conversions.set_rate(before, "EUR", "USD", "1.10", 0)
        quote = await conversions.quote(before, sell=(100, "EUR"), buy=(None, "USD"))
    async with wallets.running(wallets_database, currencies=("HTG", "USD")) as client:
        assert await transfers.send(client, "ana", "ben", 700, currency="EUR", key="k") == sent
        assert await holds.create(client, currency="EUR", key="p") == posted
        assert (await holds.post(client, posted, currency="EUR")).status == holds_pb2.HOLD_STATUS_POSTED
        assert (await holds.void(client, voided)).status == holds_pb2.HOLD_STATUS_VOIDED
        assert (await transfers.reverse(client, sent.id)).currency == "EUR"
        assert (await conversions.accept(client, quote.id)).status == conversions_pb2.QUOTE_STATUS_ACCEPTED
        late = await conversions.quote(client, sell=(100, "EUR"), buy=(None, "USD"))
        assert (await conversions.accept(client, late.id)).status == conversions_pb2.QUOTE_STATUS_ACCEPTED
        (paid_out,) = await client.post(wallets.transfer("user/ana", "provider/bank", 5, "EUR", type_="WITHDRAWAL"))
        (settled,) = await client.post(wallets.transfer("provider/stripe", "user/ana", 5, "EUR", type_="DEPOSIT"))
        assert paid_out.HasField("transfer")
        assert settled.HasField("transfer")


async def test_without_the_default_currency_a_call_has_to_name_one(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, currencies=("USD",)) as client:
        request = transfers_pb2.CreateTransferRequest(to_user_id="ben", amount=5)
        call = client.transfers.CreateTransfer(request, metadata=transfers.user("ana", str(uuid.uuid4())))
        assert (await wallets.refused(call)).message == "currency: HTG is not offered; offered are USD"


async def test_over_rest_every_caller_may_list_them_and_a_refusal_has_the_list(
    wallets_database: databases.Database,
) -> None:
    async with wallets_gateway.running(wallets_database, service={"currencies": ("HTG", "JPY")}) as (gateway, _):
        answer = await gateway.http.get("/currencies")
        assert answer.json() == {"currencies": [{"code": "HTG", "decimals": 2}, {"code": "JPY", "decimals": 0}]}
        body = {"sell": {"currency": "JPY", "amount": "5"}, "buy": {"currency": "KWD"}}
        refused = await gateway.http.post("/quotes", json=body, headers={"idempotency-key": "q"})
        problem = refused.json()
        assert (refused.status_code, problem["reason"]) == (400, "CURRENCY_NOT_OFFERED")
        assert problem["metadata"] == {"currency": "KWD", "offered": "HTG, JPY"}
        assert [each["field"] for each in problem["errors"]] == ["buy.currency"]
