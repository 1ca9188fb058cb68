"""Holds over gRPC: who may do what, and what becomes of the money."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kobklein.wallets.v1 import holds_pb2, ledger_pb2, wallets_pb2
from tests import databases, holds, ledger_oracle, wallets

PENDING, POSTED = holds_pb2.HOLD_STATUS_PENDING, holds_pb2.HOLD_STATUS_POSTED
VOIDED, EXPIRED = holds_pb2.HOLD_STATUS_VOIDED, holds_pb2.HOLD_STATUS_EXPIRED


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        yield client
        ledger_oracle.check(wallets_database.superuser_url)
        assert (await client.verify()).balanced


async def money(client: wallets.Client, user: str) -> tuple[int, int, int]:
    """Return the balance of a wallet, what is held of it, and what is available."""
    account = await client.account(f"user/{user}")
    return account.balance, account.held_amount, account.available_amount


async def test_a_hold_reserves_money_and_moves_none(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    payment = str(uuid.uuid4())
    request = holds_pb2.CreateHoldRequest(
        user_id="ana", credit_account="distributor/d1", amount=40, currency="HTG", expires_after_seconds=60,
        type=ledger_pb2.TRANSFER_TYPE_WITHDRAWAL, payment_id=payment, reference="r-1", description="cash",
    )  # fmt: skip
    request.metadata.update({"desk": 4})
    made = await client.holds.CreateHold(request, metadata=wallets.metadata("payments", "service", key="k"))
    expected = holds_pb2.Hold(
        id=made.id, debit_account="user/ana", credit_account="distributor/d1", amount=40, remaining_amount=40,
        currency="HTG", status=PENDING, type=ledger_pb2.TRANSFER_TYPE_WITHDRAWAL, payment_id=payment, reference="r-1",
        description="cash", created_time=made.created_time, updated_time=made.created_time,
    )  # fmt: skip
    expected.metadata.update({"desk": 4})
    expected.expires_time.FromNanoseconds(made.created_time.ToNanoseconds() + 60 * 10**9)
    assert made == expected
    assert await holds.get(client, made.id) == made
    assert await money(client, "ana") == (100, 40, 60)
    wallet = (
        await client.wallets.ListUserWallets(
            wallets_pb2.ListUserWalletsRequest(user_id="ana"), metadata=wallets.metadata("ana", "user")
        )
    ).wallets[0]
    assert (wallet.balance, wallet.held_amount, wallet.available_amount) == (100, 40, 60)


async def test_a_hold_without_a_lifetime_lasts_seven_days(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    made = await holds.create(client)
    assert made.expires_time.seconds - made.created_time.seconds == 7 * 24 * 3600


async def test_held_money_is_spent_neither_by_a_transfer_nor_by_another_hold(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    await holds.create(client, amount=80)
    (result,) = await client.post(wallets.transfer("user/ana", "user/eva", 21))
    status = await wallets.refused(holds.create(client, amount=21))
    assert result.error.reason == status.reason == "INSUFFICIENT_FUNDS"
    assert (status.metadata["available"], status.metadata["held"]) == ("0.20", "0.80")


async def test_a_hold_is_posted_in_parts_until_nothing_is_left(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    made = await holds.create(client, amount=60, description="rent", reference="r-1")
    first = await holds.post(client, made, 10)
    assert (first.status, first.posted_amount, first.remaining_amount) == (PENDING, 10, 50)
    assert await money(client, "ana") == (90, 50, 40)
    last = await holds.post(client, made)
    assert (last.status, last.posted_amount, last.remaining_amount) == (POSTED, 60, 0)
    assert (await money(client, "ana"), await money(client, "ben")) == ((40, 0, 40), (60, 0, 60))
    assert [each.balance_after for each in (first, last)] == [10, 60]
    assert await holds.get(client, made.id) == holds.kept(last)
    wallet = (await client.account("user/ben")).id
    statement = await client.wallets.ListWalletTransactions(
        wallets_pb2.ListWalletTransactionsRequest(id=wallet), metadata=wallets.metadata("ben", "user")
    )
    assert [(each.id, each.amount, each.hold_id, each.description) for each in statement.transactions] == [
        (last.transfer_id, 50, made.id, "rent"), (first.transfer_id, 10, made.id, "rent"),
    ]  # fmt: skip


async def test_free_data_beyond_64_bits_is_the_same_in_every_answer_and_in_what_is_posted(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    """PostgreSQL writes it out as a whole number of 24 digits, which must not keep the money from the payee."""
    await client.fund("ana", 100)
    data = {"large": 1e23, "odd": 2.0**60, "list": [1e20, {"n": 0.1}]}
    made = await holds.create(client, metadata=data)
    listed = await client.holds.ListHolds(holds_pb2.ListHoldsRequest(), metadata=wallets.metadata("ben", "user"))
    assert await holds.get(client, made.id) == listed.holds[0] == made
    posted = await holds.post(client, made)
    assert made.metadata == posted.metadata
    assert dict(made.metadata) == {"large": 1e23, "odd": 2.0**60, "list": made.metadata["list"]}
    assert holds.rows(
        wallets_database, "SELECT h.metadata = t.metadata FROM transfers t JOIN holds h ON h.id = t.hold_id"
    ) == [(True,)]


async def test_a_part_may_give_back_the_rest(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    posted = await holds.post(client, await holds.create(client, amount=60), 10, release_rest=True)
    assert (posted.status, posted.posted_amount, posted.remaining_amount) == (POSTED, 10, 0)
    assert await money(client, "ana") == (90, 0, 90)


async def test_more_than_is_left_is_refused_and_changes_nothing(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    made = await holds.create(client, amount=60)
    before = await holds.post(client, made, 50)
    status = await wallets.refused(holds.post(client, made, 11))
    assert (status.code, status.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "HOLD_EXCEEDED")
    part = wallets.transfer(made.debit_account, made.credit_account, 11, hold_id=made.id)
    (result,) = await client.post(part)
    assert (result.error.reason, result.error.metadata["remaining"]) == (status.reason, "0.10")
    assert await holds.get(client, made.id) == holds.kept(before)


async def test_voiding_gives_back_what_is_left_and_voiding_again_is_the_same(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    made = await holds.create(client, amount=60)
    await holds.post(client, made, 10)
    voided = await holds.void(client, made)
    assert (voided.status, voided.posted_amount, voided.remaining_amount) == (VOIDED, 10, 0)
    assert await money(client, "ana") == (90, 0, 90)
    assert await holds.void(client, made) == await holds.void(client, made, key="k") == voided


async def test_a_hold_that_has_ended_stays_as_it_ended(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    voided, posted = await holds.create(client), await holds.create(client)
    await holds.void(client, voided)
    await holds.post(client, posted)
    for call, ended in (
        (holds.post(client, voided), "VOIDED"),
        (holds.post(client, voided, 5), "VOIDED"),
        (holds.post(client, posted), "POSTED"),
        (holds.post(client, posted, 5), "POSTED"),
        (holds.void(client, posted), "POSTED"),
    ):
        status = await wallets.refused(call)
        assert (status.reason, status.metadata["status"]) == ("HOLD_ENDED", ended)
    assert (await money(client, "ana"), await money(client, "ben")) == ((75, 0, 75), (25, 0, 25))


async def test_the_payer_sees_a_hold_but_neither_takes_it_nor_gives_it_back(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    made = await holds.create(client)
    for call in (holds.post(client, made, caller="ana"), holds.void(client, made, caller="ana")):
        status = await wallets.refused(call)
        assert status.code == grpc.StatusCode.PERMISSION_DENIED
        assert status.message == "only the payee or an admin may post or void this hold"
    assert await holds.get(client, made.id, "ben") == await holds.get(client, made.id, "ana") == made


async def test_staff_reads_holds_and_only_admins_and_services_end_them(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    made = await holds.create(client)
    for role in ("support", "finance", "admin", "service"):
        assert await holds.get(client, made.id, "staff", role) == made
    request = holds_pb2.PostHoldRequest(id=made.id, amount=5, currency="HTG")
    for role in ("support", "finance"):
        metadata = wallets.metadata("staff", role, key="k")
        assert (await wallets.refused(client.holds.PostHold(request, metadata=metadata))).code == (
            grpc.StatusCode.PERMISSION_DENIED
        )
    posted = await client.holds.PostHold(request, metadata=wallets.metadata("staff", "service", key="k"))
    assert posted.posted_amount == 5
    voided = await client.holds.VoidHold(
        holds_pb2.VoidHoldRequest(id=made.id), metadata=wallets.metadata("staff", "admin")
    )
    assert voided.status == VOIDED


async def test_anothers_hold_looks_like_a_missing_one(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    made = await holds.create(client)
    missing = holds_pb2.Hold(id=str(uuid.uuid4()))
    for rpc in (holds.post, holds.void):
        theirs, none = [await wallets.refused(rpc(client, hold, caller="eva")) for hold in (made, missing)]
        assert (theirs.code, theirs.reason) == (none.code, none.reason) == (grpc.StatusCode.NOT_FOUND, "HOLD_NOT_FOUND")
        assert theirs.message.replace(made.id, "") == none.message.replace(missing.id, "")
    theirs, none = [await wallets.refused(holds.get(client, hold.id, "eva")) for hold in (made, missing)]
    assert (theirs.code, theirs.reason) == (none.code, none.reason) == (grpc.StatusCode.NOT_FOUND, "HOLD_NOT_FOUND")


@pytest.mark.parametrize(
    "fields",
    [
        {"debit_account": "user/eva"},
        {"to_user_id": "", "credit_account": "fees"},
        {"payment_id": str(uuid.UUID(int=1))},
        {"type": ledger_pb2.TRANSFER_TYPE_DEPOSIT},
        {"user_id": "eva"},
    ],
    ids=lambda fields: next(reversed(fields)),
)
async def test_what_is_for_admins_and_services_is_refused_to_users(client: wallets.Client, fields: Any) -> None:
    await client.fund("ana", 100)
    status, field = await wallets.refused(holds.create(client, **fields)), next(reversed(fields))
    said = "user_id names another user:" if field == "user_id" else f"setting {field}"
    assert status.code == grpc.StatusCode.PERMISSION_DENIED
    assert status.message == f"{said} needs admin; this token has user"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"to_user_id": "ben"}, ["user_id"]),
        ({"user_id": "ana"}, ["to_user_id"]),
        ({}, ["user_id", "to_user_id"]),
        ({"user_id": "ana", "debit_account": "user/ana", "to_user_id": "ben"}, ["debit_account"]),
        ({"user_id": "ana", "to_user_id": "ben", "credit_account": "fees"}, ["credit_account"]),
    ],
    ids=str,
)
async def test_each_side_is_named_once_and_a_wrong_call_leaves_its_key_free(
    client: wallets.Client, fields: Any, wrong: list[str]
) -> None:
    await client.fund("ana", 100)
    admin = wallets.metadata("root", "admin", key="k")
    request = holds_pb2.CreateHoldRequest(amount=5, currency="HTG", **fields)
    status = await wallets.refused(client.holds.CreateHold(request, metadata=admin))
    assert (status.code, [each.field for each in status.violations]) == (grpc.StatusCode.INVALID_ARGUMENT, wrong)
    good = holds_pb2.CreateHoldRequest(amount=5, currency="HTG", debit_account="user/ana", credit_account="fees")
    assert (await client.holds.CreateHold(good, metadata=admin)).status == PENDING


async def test_a_part_is_in_the_currency_of_the_hold(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    made = await holds.create(client)
    for currency in ("USD", ""):
        status = await wallets.refused(holds.post(client, made, 5, currency=currency))
        assert [each.field for each in status.violations] == ["currency"]


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_hold_that_is_over_at_once_is_refused(client: wallets.Client, seconds: int) -> None:
    """Zero is not taken for absent, which is seven days."""
    status = await wallets.refused(holds.create(client, expires_after_seconds=seconds))
    assert [each.field for each in status.violations] == ["expires_after_seconds"]


async def test_a_hold_for_oneself_is_refused(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    assert (await wallets.refused(holds.create(client, to_user_id="ana"))).reason == "SAME_ACCOUNT"


async def test_holds_are_listed_newest_first_page_by_page_and_by_every_condition(client: wallets.Client) -> None:
    for user in ("ana", "ben"):
        await client.fund(user, 1_000)
        await client.fund(user, 1_000, "USD")
    made = [
        await holds.create(client, payer, to_user_id=payee, currency=currency, reference=f"r-{number % 2}")
        for number, (payer, payee, currency) in enumerate(
            [("ana", "ben", "HTG"), ("ben", "ana", "USD"), ("ana", "eva", "HTG"), ("ben", "eva", "HTG")] * 3
        )
    ]
    await holds.void(client, made[0])
    await holds.post(client, made[4])

    async def found(caller: Any, page_size: int = 4, **conditions: Any) -> list[str]:
        request, listed = holds_pb2.ListHoldsRequest(page_size=page_size, **conditions), []
        while True:
            page = await client.holds.ListHolds(request, metadata=caller)
            assert len(page.holds) <= page_size
            listed += [hold.id for hold in page.holds]
            request.page_token = page.next_page_token
            if not request.page_token:
                return listed

    newest = [hold.id for hold in reversed(made)]
    ana, support = wallets.metadata("ana", "user"), wallets.metadata("sue", "support")
    anas = [id_ for number, id_ in enumerate(newest) if number % 4 != 0]
    assert await found(support) == await found(support, 12) == newest
    for size in (1, 2, 9, 10):
        assert await found(ana, size) == anas
    assert await found(support, user_id="ana") == await found(ana, user_id="ana") == anas
    assert await found(ana, currency="USD") == [made[number].id for number in (9, 5, 1)]
    assert await found(ana, reference="r-1") == [made[number].id for number in (9, 5, 1)]
    assert await found(support, status=VOIDED) == [made[0].id]
    assert await found(ana, status=POSTED) == [made[4].id]
    assert await found(ana, status=PENDING) == [id_ for id_ in anas if id_ not in (made[0].id, made[4].id)]
    assert await found(ana, status=EXPIRED) == []
    request = holds_pb2.ListHoldsRequest(user_id="ben")
    assert (await wallets.refused(client.holds.ListHolds(request, metadata=ana))).code == (
        grpc.StatusCode.PERMISSION_DENIED
    )
