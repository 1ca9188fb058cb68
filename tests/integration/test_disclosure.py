"""What a refusal tells of an account that is not the caller's: nothing to users, everything to admins and services."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest

from kobklein import errors
from kobklein.wallets.v1 import accounts_pb2, holds_pb2, transfers_pb2
from tests import accounts, databases, holds, transfers, wallets, wallets_gateway
from tests.gateways import Gateway
from wallets_service.errors import AccountFrozen, CounterpartyUnavailable, HoldEnded, InsufficientFunds

NEUTRAL: Final = errors.Status(
    code=grpc.StatusCode.FAILED_PRECONDITION,
    message="the other side cannot take part in this for now",
    reason="COUNTERPARTY_UNAVAILABLE",
    http_status=409,
)
CREDIT: Final = accounts_pb2.FREEZE_DIRECTION_CREDIT
DEBIT: Final = accounts_pb2.FREEZE_DIRECTION_DEBIT


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await client.fund("ana", 10_000)
        await client.fund("ben", 100)
        yield client


async def stopped(client: wallets.Client, user: str, how: str) -> None:
    """Freeze or close a user's wallet."""
    if how == "closed":
        await client.post(wallets.transfer(f"user/{user}", "provider/stripe", 100))
        await accounts.close(client, (await client.account(f"user/{user}")).id)
    else:
        await accounts.freeze(client, (await client.account(f"user/{user}")).id, CREDIT)


@pytest.mark.parametrize("how", ["frozen", "closed"])
@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_payer_cannot_tell_whether_the_payee_is_frozen_or_closed(
    client: wallets.Client, how: str, dry_run: bool
) -> None:
    await stopped(client, "ben", how)
    assert await wallets.refused(transfers.send(client, "ana", "ben", 1, dry_run=dry_run)) == NEUTRAL
    assert await wallets.refused(holds.create(client)) == NEUTRAL


async def test_a_payee_cannot_tell_whether_the_payer_is_frozen(client: wallets.Client) -> None:
    made = await holds.create(client)
    await accounts.freeze(client, (await client.account("user/ana")).id, DEBIT)
    assert await wallets.refused(holds.post(client, made)) == NEUTRAL


async def test_users_are_told_of_their_own_account_which_way_it_is_frozen(client: wallets.Client) -> None:
    await accounts.freeze(client, (await client.account("user/ana")).id, DEBIT)
    status = await wallets.refused(transfers.send(client, "ana", "ben", 1))
    assert (status.reason, status.message, status.metadata) == (
        "ACCOUNT_FROZEN",
        "user/ana is frozen in HTG: its status is DEBIT_FROZEN",
        {"account": "user/ana", "currency": "HTG", "status": "DEBIT_FROZEN"},
    )


@pytest.mark.parametrize("caller", [("root", "admin"), ("till", "service")])
async def test_admins_and_services_are_told_of_every_account(client: wallets.Client, caller: tuple[str, str]) -> None:
    made = await holds.create(client)
    await accounts.freeze(client, (await client.account("user/ben")).id, CREDIT)
    for call in (
        transfers.send(
            client, "ana", "ben", 1, user_id="ana", dry_run=True, caller=wallets.metadata(*caller, key="send")
        ),
        client.holds.PostHold(holds_pb2.PostHoldRequest(id=made.id), metadata=wallets.metadata(*caller, key="post")),
    ):
        status = await wallets.refused(call)
        assert (status.reason, status.metadata["account"], status.metadata["status"]) == (
            "ACCOUNT_FROZEN",
            "user/ben",
            "CREDIT_FROZEN",
        )


async def test_a_refusal_for_somebody_elses_account_uses_no_key_up(client: wallets.Client) -> None:
    id_ = (await client.account("user/ben")).id
    await accounts.freeze(client, id_, CREDIT)
    assert await wallets.refused(transfers.send(client, "ana", "ben", 1, key="k")) == NEUTRAL
    await accounts.unfreeze(client, id_)
    made: transfers_pb2.UserTransfer = await transfers.send(client, "ana", "ben", 1, key="k")
    assert made.balance_after == 9_999


@pytest.fixture
async def rest(wallets_database: databases.Database) -> AsyncIterator[tuple[Gateway, wallets.Client]]:
    async with wallets_gateway.running(wallets_database) as (gateway, client):
        await client.fund("user-1", 10_000)
        yield gateway, client


async def test_over_rest_a_dry_run_tells_nothing_of_the_payee(rest: tuple[Gateway, wallets.Client]) -> None:
    gateway, client = rest
    answers: list[dict[str, Any]] = []
    for user, how in (("frozen-1", "frozen"), ("closed-1", "closed")):
        await client.fund(user, 100)
        await stopped(client, user, how)
        body = {"toUserId": user, "amount": "0.01", "dryRun": True}
        answer = await gateway.http.post(
            "/transfers", json=body, headers={"idempotency-key": user, "x-request-id": "r"}
        )
        assert (answer.status_code, answer.json()["reason"]) == (409, "COUNTERPARTY_UNAVAILABLE")
        assert user not in answer.text
        answers.append(answer.json())
    assert answers[0] == answers[1]


@dataclasses.dataclass(frozen=True)
class Told:
    owner: str | None
    account: str
    whole: bool


@pytest.mark.parametrize(
    "told",
    [
        Told(None, "user/ben", whole=True),
        Told("ben", "user/ben", whole=True),
        Told("ana", "user/ben", whole=False),
        Told("be", "user/ben", whole=False),
        Told("ana", "fx/liquidity", whole=False),
    ],
)
def test_a_refusal_is_whole_only_to_those_who_may_see_the_account(told: Told) -> None:
    for error in (
        AccountFrozen(account=told.account, currency="HTG", status="FROZEN"),
        InsufficientFunds(account=told.account, currency="HTG", available=1, held=0, needed=2),
    ):
        shown = error.shown_to(told.owner)
        assert shown is error if told.whole else isinstance(shown, CounterpartyUnavailable)


def test_a_refusal_that_is_about_no_account_is_told_to_everybody() -> None:
    error = HoldEnded(id="1", status="POSTED")
    assert error.shown_to("ana") is error
