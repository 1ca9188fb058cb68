"""Payees without any wallet: paid only by a caller who says that they are new, as their id could be mistyped."""

import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest

from kobklein import errors
from kobklein.wallets.v1 import holds_pb2, ledger_pb2, transfers_pb2, wallets_pb2
from tests import databases, holds, transfers, wallets

Replicas = tuple[wallets.Client, wallets.Client]
REFUSED: Final = errors.Status(
    code=grpc.StatusCode.FAILED_PRECONDITION,
    message='user bne has no wallet yet: check the id, and give "toNewUser": true to pay a new user',
    reason="PAYEE_IS_NEW",
    metadata={"to_user_id": "bne"},
    http_status=400,
)


@pytest.fixture
async def replicas(wallets_database: databases.Database) -> AsyncIterator[Replicas]:
    async with wallets.running(wallets_database) as one, wallets.running(wallets_database) as other:
        await one.fund("ana", 10_000)
        yield one, other
        assert (await one.verify()).balanced


@pytest.fixture
def client(replicas: Replicas) -> wallets.Client:
    return replicas[0]


async def addresses(client: wallets.Client) -> set[tuple[str, str]]:
    listed = await client.ledger.ListAccounts(ledger_pb2.ListAccountsRequest(), metadata=wallets.AS_SERVICE)
    return {(account.address, account.currency) for account in listed.accounts}


async def test_a_mistyped_payee_is_not_paid_and_the_key_stays_free(client: wallets.Client) -> None:
    before = await addresses(client)
    assert await wallets.refused(transfers.send(client, "ana", "bne", 5, key="k", to_new_user=False)) == REFUSED
    assert await addresses(client) == before
    made = await transfers.send(client, "ana", "bne", 5, key="k", to_new_user=True)
    assert not made.HasField("payee_is_new")
    assert await transfers.send(client, "ana", "bne", 5, key="k", to_new_user=False) == made
    assert (await transfers.send(client, "ana", "bne", 5, to_new_user=False)).balance_after == 9_990


async def test_a_mistyped_payee_is_not_promised_anything_and_the_key_stays_free(client: wallets.Client) -> None:
    before = await addresses(client)
    asked = {"to_user_id": "bne", "key": "k"}
    assert await wallets.refused(holds.create(client, **asked, to_new_user=False)) == REFUSED
    assert await addresses(client) == before
    made = await holds.create(client, **asked, to_new_user=True)
    assert await holds.create(client, **asked, to_new_user=False) == made
    assert (await holds.create(client, to_user_id="bne", to_new_user=False)).id != made.id


async def test_a_wallet_in_any_currency_makes_a_user_known(client: wallets.Client) -> None:
    created = wallets_pb2.CreateWalletRequest(user_id="bne", currency="USD")
    await client.wallets.CreateWallet(created, metadata=transfers.ADMIN)
    assert (await transfers.send(client, "ana", "bne", 5, to_new_user=False)).balance_after == 9_995


async def test_a_dry_run_says_whether_the_payee_is_new_and_is_not_refused_for_it(client: wallets.Client) -> None:
    await transfers.set_fee(client, fixed_amount=10)
    tried = [
        await transfers.send(client, "ana", "bne", 5, dry_run=True, to_new_user=to_new_user)
        for to_new_user in (False, True)
    ]
    assert [(each.payee_is_new, each.fee_amount, each.balance_after) for each in tried] == [(True, 10, 9_985)] * 2
    await transfers.send(client, "ana", "bne", 5)
    known = await transfers.send(client, "ana", "bne", 5, dry_run=True)
    assert (known.HasField("payee_is_new"), known.payee_is_new) == (True, False)


async def test_who_cannot_pay_is_not_told_whether_the_payee_is_new(client: wallets.Client) -> None:
    for dry_run in (False, True):
        status = await wallets.refused(transfers.send(client, "ana", "bne", 10_001, dry_run=dry_run, to_new_user=False))
        assert status.reason == "INSUFFICIENT_FUNDS"


@pytest.mark.parametrize(("payee", "refused"), [("user/bne", True), ("user/bne/savings", False), ("agent/a", False)])
async def test_what_services_reserve_is_refused_for_a_wallet_of_a_new_user_alone(
    client: wallets.Client, payee: str, refused: bool
) -> None:
    request = holds_pb2.CreateHoldRequest(debit_account="user/ana", credit_account=payee, amount=5, currency="HTG")
    call = client.holds.CreateHold(request, metadata=wallets.metadata("payments", "service", key="k"))
    if refused:
        assert await wallets.refused(call) == REFUSED
    else:
        assert (await call).credit_account == payee


async def test_what_services_post_opens_wallets_as_ever(client: wallets.Client) -> None:
    await client.fund("bne", 5)
    (result,) = await client.post(wallets.transfer("user/ana", "user/eva", 5))
    assert result.transfer.credit_balance_after == 5


async def test_of_first_transfers_at_once_each_is_let_through_by_its_word_or_by_the_wallet(replicas: Replicas) -> None:
    """On two replicas: without a word from anyone no wallet opens; with one, the others are posted or refused whole."""
    made, reasons = await transfers.outcomes(
        transfers.send(replica, "ana", "bne", 5, to_new_user=False) for replica in replicas * 10
    )
    assert (made, set(reasons)) == ([], {"PAYEE_IS_NEW"})
    assert ("user/bne", "HTG") not in await addresses(replicas[0])
    words: list[dict[str, Any]] = [{"to_new_user": number % 10 == 5} for number in range(40)]
    made, reasons = await transfers.outcomes(
        transfers.send(replicas[number % 2], "ana", "bne", 5, **word) for number, word in enumerate(words)
    )
    assert set(reasons) <= {"PAYEE_IS_NEW"}
    assert len(made) >= 4
    assert (await replicas[0].account("user/bne")).balance == 5 * len(made)
    for replica in replicas:
        await transfers.send(replica, "ana", "bne", 5, to_new_user=False)


async def test_a_reversal_opens_no_wallet_and_needs_no_word(client: wallets.Client) -> None:
    made = await transfers.send(client, "ana", "bne", 5)
    assert (await transfers.reverse(client, made.id)).amount == 5


@pytest.mark.parametrize("role", ["admin", "service"])
async def test_whoever_asks_for_a_transfer_between_users_says_so(client: wallets.Client, role: str) -> None:
    request = transfers_pb2.CreateTransferRequest(user_id="ana", to_user_id="bne", amount=5)
    caller = wallets.metadata("root", role, key=str(uuid.uuid4()))
    assert await wallets.refused(client.transfers.CreateTransfer(request, metadata=caller)) == REFUSED
