"""What admins set on accounts, over gRPC."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import psycopg
import pytest

from kobklein import errors
from kobklein.wallets.v1 import accounts_pb2, ledger_pb2, wallets_pb2
from tests import accounts, databases, holds, wallets

ACTIVE, FROZEN, CLOSED = (
    ledger_pb2.ACCOUNT_STATUS_ACTIVE, ledger_pb2.ACCOUNT_STATUS_FROZEN, ledger_pb2.ACCOUNT_STATUS_CLOSED,
)  # fmt: skip
DEBIT_FROZEN, CREDIT_FROZEN = ledger_pb2.ACCOUNT_STATUS_DEBIT_FROZEN, ledger_pb2.ACCOUNT_STATUS_CREDIT_FROZEN
DEBIT, CREDIT = accounts_pb2.FREEZE_DIRECTION_DEBIT, accounts_pb2.FREEZE_DIRECTION_CREDIT


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with accounts.running(wallets_database) as client:
        yield client


async def test_an_account_is_found_by_its_id_or_by_its_address_and_currency(client: wallets.Client) -> None:
    account = await client.account("user/ana")
    request = ledger_pb2.GetAccountRequest(id=account.id)
    assert await client.ledger.GetAccount(request, metadata=wallets.metadata("fin", "finance")) == account
    missing = ledger_pb2.GetAccountRequest(id=str(uuid.uuid4()))
    status = await wallets.refused(client.ledger.GetAccount(missing, metadata=accounts.ADMIN))
    assert status.reason == "ACCOUNT_NOT_FOUND"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, ["address", "currency"]),
        ({"address": "fees"}, ["currency"]),
        ({"id": str(uuid.UUID(int=1)), "address": "fees"}, ["address"]),
    ],
    ids=str,
)
async def test_an_account_is_named_one_way_only(client: wallets.Client, fields: Any, wrong: list[str]) -> None:
    request = ledger_pb2.GetAccountRequest(**fields)
    status = await wallets.refused(client.ledger.GetAccount(request, metadata=accounts.ADMIN))
    assert [each.field for each in status.violations] == wrong


async def test_an_overdraft_is_given_used_and_taken_back_as_far_as_it_is_not_used(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    assert (await accounts.update(client, id_, "overdraft_limit", overdraft_limit=50)).available_amount == 150
    assert await accounts.pay(client, 130) == ""
    status = await wallets.refused(accounts.update(client, id_, "overdraft_limit", overdraft_limit=29))
    assert (status.code, status.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OVERDRAFT_IN_USE")
    assert status.metadata["used"] == "0.30"
    assert len(await accounts.entries(client, subject=f"account/{id_}")) == 1
    changed = await accounts.update(client, id_, "overdraft_limit", overdraft_limit=30)
    assert (changed.balance, changed.overdraft_limit, changed.available_amount) == (-30, 30, 0)


async def test_what_is_held_uses_an_overdraft_until_its_time_is_over(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    id_ = (await client.account("user/ana")).id
    await accounts.update(client, id_, "overdraft_limit", overdraft_limit=50)
    made = await holds.create(client, amount=120, expires_after_seconds=1)
    status = await wallets.refused(accounts.update(client, id_, "overdraft_limit", overdraft_limit=0))
    assert (status.reason, status.metadata["used"]) == ("OVERDRAFT_IN_USE", "0.20")
    await holds.until_over(wallets_database, made)
    assert (await accounts.update(client, id_, "overdraft_limit", overdraft_limit=0)).available_amount == 100


async def test_an_absent_overdraft_limit_that_is_named_is_the_default_of_the_address(client: wallets.Client) -> None:
    ana, stripe = (await client.account("user/ana")).id, (await client.account("provider/stripe")).id
    await accounts.update(client, ana, "overdraft_limit", overdraft_limit=50)
    await accounts.update(client, stripe, "overdraft_limit", overdraft_limit=100)
    changed = await accounts.update(client, ana, "overdraft_limit")
    assert (changed.HasField("overdraft_limit"), changed.overdraft_limit, changed.unlimited_overdraft) == (
        True,
        0,
        False,
    )
    assert await accounts.pay(client, 101) == "INSUFFICIENT_FUNDS"
    changed = await accounts.update(client, stripe, "overdraft_limit")
    assert (changed.HasField("overdraft_limit"), changed.unlimited_overdraft) == (False, True)
    await accounts.update(client, stripe, "overdraft_limit", overdraft_limit=100)
    changed = await accounts.update(client, stripe, "overdraft_limit", "unlimited_overdraft")
    assert (changed.HasField("overdraft_limit"), changed.unlimited_overdraft) == (False, True)


async def test_that_an_overdraft_has_a_limit_keeps_the_one_that_it_has(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    before = await accounts.update(client, id_, "overdraft_limit", overdraft_limit=50)
    assert await accounts.update(client, id_, "unlimited_overdraft", unlimited_overdraft=False) == before
    assert len(await accounts.entries(client, subject=f"account/{id_}")) == 1


async def test_an_overdraft_without_limit_ends_with_a_limit_only(client: wallets.Client) -> None:
    stripe = await client.account("provider/stripe")
    status = await wallets.refused(accounts.update(client, stripe.id, "unlimited_overdraft", unlimited_overdraft=False))
    assert status.violations == (
        errors.Violation("account.overdraft_limit", "is required to end an overdraft without limit"),
    )
    assert await client.account("provider/stripe") == stripe
    changed = await accounts.update(
        client, stripe.id, "overdraft_limit", "unlimited_overdraft", overdraft_limit=100, unlimited_overdraft=False
    )
    assert (changed.overdraft_limit, changed.unlimited_overdraft) == (100, False)


async def test_an_overdraft_without_limit_is_asked_for_by_name_and_never_given_to_a_user(
    client: wallets.Client,
) -> None:
    await accounts.pay(client, 1, "user/ana", "fees")
    ana, fees = await client.account("user/ana"), await client.account("fees")
    status = await wallets.refused(accounts.update(client, ana.id, "unlimited_overdraft", unlimited_overdraft=True))
    assert [each.field for each in status.violations] == ["account.unlimited_overdraft"]
    assert await client.account("user/ana") == ana
    assert await accounts.pay(client, 100) == "INSUFFICIENT_FUNDS"
    changed = await accounts.update(client, fees.id, "unlimited_overdraft", unlimited_overdraft=True)
    assert (changed.HasField("overdraft_limit"), changed.unlimited_overdraft) == (False, True)
    assert await accounts.pay(client, 100, "fees") == ""


async def test_an_admin_may_give_the_exchange_a_floor(client: wallets.Client) -> None:
    assert await accounts.pay(client, 30, "fx/liquidity", type_="ADJUSTMENT") == ""
    id_ = (await client.account("fx/liquidity")).id
    status = await wallets.refused(accounts.update(client, id_, "overdraft_limit", overdraft_limit=29))
    assert status.reason == "OVERDRAFT_IN_USE"
    await accounts.update(client, id_, "overdraft_limit", overdraft_limit=40)
    assert await accounts.pay(client, 11, "fx/liquidity", type_="ADJUSTMENT") == "INSUFFICIENT_FUNDS"
    assert await accounts.pay(client, 10, "fx/liquidity", type_="ADJUSTMENT") == ""


async def test_what_the_exchange_has_earned_cannot_be_spent_twice(client: wallets.Client) -> None:
    assert await accounts.pay(client, 5, "fx/liquidity", "fx/spread", type_="ADJUSTMENT") == ""
    assert await accounts.pay(client, 6, "fx/spread", "user/ana") == "INSUFFICIENT_FUNDS"
    assert await accounts.pay(client, 5, "fx/spread", "user/ana") == ""


CHANGED: Final = {"overdraft_limit": 7, "limits": ledger_pb2.Limits(currency="HTG", day_amount=7)}


async def test_an_overdraft_that_64_bits_cannot_even_hold_is_in_use(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    before = await client.account("provider/stripe")
    with psycopg.connect(wallets_database.superuser_url) as connection:
        lowest = "balance = -9223372036854775808, held_amount = 1, overdraft_limit = NULL"
        connection.execute(f"UPDATE accounts SET {lowest} WHERE id = %s", (before.id,))
    status = await wallets.refused(accounts.update(client, before.id, "overdraft_limit", overdraft_limit=10**15 - 1))
    assert (status.reason, status.metadata["used"]) == ("OVERDRAFT_IN_USE", "92233720368547758.09")
    with psycopg.connect(wallets_database.superuser_url) as connection:
        connection.execute("UPDATE accounts SET balance = -100, held_amount = 0 WHERE id = %s", (before.id,))


@pytest.mark.parametrize("path", ["overdraft_limit", "limits", "limits.day_amount"])
async def test_the_overdraft_and_limits_change_with_a_reason_only(client: wallets.Client, path: str) -> None:
    id_ = (await client.account("user/ana")).id
    for reason in ("", " \n"):
        status = await wallets.refused(accounts.update(client, id_, path, reason=reason, currency="HTG", **CHANGED))
        assert [each.field for each in status.violations] == ["reason"]
    assert dict((await accounts.update(client, id_, "metadata", reason="", metadata={"a": "b"})).metadata) == {"a": "b"}


@pytest.mark.parametrize("address", ["user/ana", "provider/stripe"])
async def test_an_account_is_sent_back_as_it_was_read_but_for_one_field(client: wallets.Client, address: str) -> None:
    before = await client.account(address)
    request = accounts_pb2.UpdateAccountRequest(id=before.id.upper(), account=before)
    admin = wallets.metadata("root", "admin")
    assert await client.accounts.UpdateAccount(request, metadata=admin) == before
    assert await accounts.update(client, before.id) == before
    assert await accounts.entries(client) == []
    request.account.metadata["kyc"] = "2"
    changed = await client.accounts.UpdateAccount(request, metadata=admin)
    assert (changed.metadata["kyc"], changed.etag != before.etag) == ("2", True)
    changed.metadata.Clear()
    for name in ("etag", "updated_time", "metadata"):
        changed.ClearField(name)
        before.ClearField(name)
    assert changed == before


async def test_metadata_is_replaced_whole(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    assert dict((await accounts.update(client, id_, "metadata", metadata={"kyc": "2", "desk": 4})).metadata) == {
        "kyc": "2", "desk": 4,
    }  # fmt: skip
    assert dict((await accounts.update(client, id_, "metadata", metadata={"kyc": "3"})).metadata) == {"kyc": "3"}
    assert not (await accounts.update(client, id_, "metadata")).metadata


async def test_free_data_changes_where_python_sees_no_change(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    for vip in (True, 1.0, False, 0.0):
        changed = await accounts.update(client, id_, "metadata", metadata={"vip": vip})
        assert repr(changed.metadata["vip"]) == repr(vip)
        assert (await client.account("user/ana")) == changed


@pytest.mark.parametrize(
    "metadata", [{str(number): "" for number in range(51)}, {"a": "x" * 8192}], ids=["keys", "size"]
)
async def test_metadata_that_no_page_would_hold_is_refused(client: wallets.Client, metadata: dict[str, str]) -> None:
    before = await client.account("user/ana")
    status = await wallets.refused(accounts.update(client, before.id, "metadata", metadata=metadata))
    assert [each.field for each in status.violations] == ["account.metadata"]
    assert await client.account("user/ana") == before


@pytest.mark.parametrize(
    ("paths", "account", "wrong"),
    [
        (["owner", "metadata"], {"balance": 1}, ["update_mask"]),
        (["limits.nothing"], {}, ["update_mask"]),
        (["day_amount"], {}, ["update_mask"]),
        (["overdraft_limit"], {"overdraft_limit": -1}, ["account.overdraft_limit"]),
        (["overdraft_limit"], {"overdraft_limit": 10**15}, ["account.overdraft_limit"]),
        (
            ["overdraft_limit", "unlimited_overdraft"],
            {"overdraft_limit": 1, "unlimited_overdraft": True},
            ["account.unlimited_overdraft"],
        ),
        (["overdraft_limit"], {"overdraft_limit": 1, "currency": "USD"}, ["account.currency"]),
        (["limits"], {"limits": ledger_pb2.Limits(currency="USD", day_amount=1)}, ["account.limits.currency"]),
        (["limits"], {"limits": ledger_pb2.Limits(day_amount=1)}, ["account.limits.currency"]),
    ],
    ids=str,
)
async def test_a_wrong_update_names_its_field_and_changes_nothing(
    client: wallets.Client, paths: list[str], account: Any, wrong: list[str]
) -> None:
    before = await client.account("user/ana")
    status = await wallets.refused(accounts.update(client, before.id, *paths, **account))
    assert (status.code, [each.field for each in status.violations]) == (grpc.StatusCode.INVALID_ARGUMENT, wrong)
    assert await client.account("user/ana") == before
    assert await accounts.entries(client) == []


async def test_an_etag_lets_the_first_of_two_writers_win(client: wallets.Client) -> None:
    before = await client.account("user/ana")
    calls = [
        accounts.update(client, before.id, "metadata", metadata={"by": str(number)}, etag=before.etag)
        for number in range(10)
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, ledger_pb2.Account) for each in answers) == 1
    status = await wallets.refused(accounts.update(client, before.id, "metadata", etag=f'"{before.etag}"'))
    now = await client.account("user/ana")
    assert (status.reason, status.http_status, status.metadata) == ("ETAG_MISMATCH", 412, {"etag": now.etag})
    assert len(await accounts.entries(client)) == 1
    changed = await accounts.update(client, before.id, "metadata", metadata={"by": "anybody"}, etag="*")
    assert changed.metadata["by"] == "anybody"


async def test_transfers_leave_the_etag_as_it_is(client: wallets.Client) -> None:
    before = await client.account("user/ana")
    await accounts.pay(client, 5)
    assert (await accounts.update(client, before.id, "metadata", metadata={"a": 1}, etag=before.etag)).balance == 95


@pytest.mark.parametrize(
    ("direction", "status", "leaves", "comes"),
    [(0, FROZEN, False, False), (DEBIT, DEBIT_FROZEN, False, True), (CREDIT, CREDIT_FROZEN, True, False)],
    ids=["both", "debit", "credit"],
)
async def test_a_freeze_stops_money_in_its_direction_until_it_ends(
    client: wallets.Client, direction: Any, status: Any, leaves: bool, comes: bool
) -> None:
    id_ = (await client.account("user/ana")).id
    assert (await accounts.freeze(client, id_, direction)).status == status
    assert await accounts.pay(client, 1) == ("" if leaves else "ACCOUNT_FROZEN")
    assert await accounts.pay(client, 1, "provider/stripe", "user/ana") == ("" if comes else "ACCOUNT_FROZEN")
    assert (await accounts.unfreeze(client, id_)).status == ACTIVE
    assert [await accounts.pay(client, 1), await accounts.pay(client, 1, "provider/stripe", "user/ana")] == ["", ""]


async def test_a_freeze_adds_to_what_is_stopped_already(client: wallets.Client) -> None:
    id_ = (await client.account("user/ana")).id
    await accounts.freeze(client, id_, DEBIT)
    assert (await accounts.freeze(client, id_, CREDIT)).status == FROZEN
    assert (await accounts.freeze(client, id_, DEBIT)).status == FROZEN
    assert [each.action for each in await accounts.entries(client)] == ["FREEZE", "FREEZE"]


async def test_a_frozen_account_keeps_its_holds_until_they_are_given_back(client: wallets.Client) -> None:
    made = await holds.create(client)
    await accounts.freeze(client, (await client.account("user/ana")).id, DEBIT)
    assert (await wallets.refused(holds.post(client, made))).reason == "COUNTERPARTY_UNAVAILABLE"
    await holds.void(client, made)
    assert (await client.account("user/ana")).held_amount == 0


async def test_only_an_empty_account_is_closed_and_for_ever(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    id_ = (await client.account("user/ana")).id
    made = await holds.create(client, amount=100, expires_after_seconds=1)
    status = await wallets.refused(accounts.close(client, id_))
    assert (status.code, status.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ACCOUNT_NOT_EMPTY")
    assert (status.metadata["balance"], status.metadata["held"]) == ("1.00", "1.00")
    await holds.until_over(wallets_database, made)
    await accounts.pay(client, 100)
    closed = await accounts.close(client, id_)
    assert closed.status == CLOSED
    assert await accounts.close(client, id_) == closed
    for change in (
        accounts.unfreeze(client, id_),
        accounts.freeze(client, id_),
        accounts.update(client, id_, "metadata", metadata={"a": 1}),
    ):
        assert (await wallets.refused(change)).reason == "ACCOUNT_CLOSED"
    assert await accounts.pay(client, 1, "provider/stripe", "user/ana") == "ACCOUNT_CLOSED"
    assert [each.action for each in await accounts.entries(client)] == ["CLOSE"]


async def test_an_account_that_only_an_expired_hold_fills_can_be_closed(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    account = await accounts.update(client, await opened(client), "overdraft_limit", overdraft_limit=50)
    made = await holds.create(client, "eva", amount=50, expires_after_seconds=1)
    assert (await wallets.refused(accounts.close(client, account.id))).reason == "ACCOUNT_NOT_EMPTY"
    await holds.until_over(wallets_database, made)
    assert (await accounts.close(client, account.id)).status == CLOSED


async def test_an_account_that_a_hold_is_for_stays_open_until_nothing_waits_for_it(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    id_ = await opened(client)
    made = [await holds.create(client, to_user_id="eva", amount=5, expires_after_seconds=1)]
    made.append(await holds.create(client, to_user_id="eva", amount=5))
    await holds.until_over(wallets_database, made[0])
    assert (await wallets.refused(accounts.close(client, id_))).reason == "ACCOUNT_IN_USE"
    await holds.void(client, made[1], caller="eva")
    assert (await accounts.close(client, id_)).status == CLOSED
    assert (await wallets.refused(holds.create(client, to_user_id="eva"))).reason == "COUNTERPARTY_UNAVAILABLE"


@pytest.mark.parametrize("address", ["fees", "fx/liquidity", "fx/spread"])
async def test_what_fees_and_conversions_go_through_stays_open(client: wallets.Client, address: str) -> None:
    for sides in (("provider/stripe", address), (address, "provider/stripe")):
        assert await accounts.pay(client, 1, *sides, type_="ADJUSTMENT") == ""
    account = await client.account(address)
    assert account.balance == 0
    assert (await wallets.refused(accounts.close(client, account.id))).reason == "ACCOUNT_IN_USE"


async def opened(client: wallets.Client) -> str:
    """Return the id of an empty wallet of `eva`."""
    wallet = await client.wallets.CreateWallet(
        wallets_pb2.CreateWalletRequest(user_id="eva", currency="HTG"), metadata=accounts.ADMIN
    )
    return str(wallet.id)


async def test_missing_accounts_are_not_found(client: wallets.Client) -> None:
    missing = str(uuid.uuid4())
    for change in (
        accounts.update(client, missing, "metadata"),
        accounts.freeze(client, missing),
        accounts.unfreeze(client, missing),
        accounts.close(client, missing),
    ):
        status = await wallets.refused(change)
        assert (status.code, status.reason) == (grpc.StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND")


async def test_no_transfer_passes_once_a_freeze_is_answered(client: wallets.Client) -> None:
    """Transfers run all the while; what is posted was posted before the account's lock went to the freeze."""
    account = await client.account("user/ana")
    await client.fund("ana", 1_000_000)
    frozen, posted = asyncio.Event(), list[ledger_pb2.Transfer]()

    async def spend() -> None:
        after = 0
        while after < 2:
            after += frozen.is_set()
            (result,) = await client.post(wallets.transfer("user/ana", "user/ben", 1))
            if result.HasField("transfer"):
                posted.append(result.transfer)
            assert result.error.reason in ("", "ACCOUNT_FROZEN")

    async def stop() -> ledger_pb2.Account:
        while len(posted) < 50:  # noqa: ASYNC110  # transfers set no event
            await asyncio.sleep(0)
        answer = await accounts.freeze(client, account.id, DEBIT)
        frozen.set()
        return answer

    *_, answer = await asyncio.gather(*(spend() for _ in range(10)), stop())
    last = max(each.created_time.ToNanoseconds() for each in posted)
    assert last < answer.updated_time.ToNanoseconds()
    now = await client.account("user/ana")
    assert (now.balance, now.version) == (answer.balance, answer.version) == (1_000_100 - len(posted), len(posted) + 2)
