"""The fee of a hold: reserved beside it, and taken and given back with it, whoever does what at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import psycopg
import pytest

from kobklein.wallets.v1 import holds_pb2, ledger_pb2, transfers_pb2
from tests import databases, holds, ledger_oracle, transfers, wallets

PERCENT: Final = 10_000
FEE: Final = ledger_pb2.TRANSFER_TYPE_FEE
FORGET_THE_ANSWERS: Final = "UPDATE idempotency_keys SET answer = NULL RETURNING key"
"""Makes things as they are when a process dies after the effect, and before its answer is kept."""


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    """A client of a service that takes one per cent of what is transferred."""
    async with wallets.running(wallets_database) as client:
        await transfers.set_fee(client, parts_per_million=PERCENT)
        await client.fund("ana", 2_000)
        yield client
        ledger_oracle.check(wallets_database.superuser_url)
        assert (await client.verify()).balanced


async def money(client: wallets.Client) -> list[tuple[int, int]]:
    """Return balance and what is held of payer, payee and the platform."""
    found = [await client.account(address) for address in ("user/ana", "user/ben", "fees")]
    return [(each.balance, each.held_amount) for each in found]


def fee(hold: holds_pb2.Hold) -> tuple[int, int]:
    return hold.fee_amount, hold.posted_fee_amount


async def test_a_hold_costs_what_a_transfer_costs(client: wallets.Client) -> None:
    made = await holds.create(client, amount=1_000)
    assert (fee(made), (await client.account("user/ana")).held_amount) == ((10, 0), 1_010)
    await holds.post(client, made)
    assert await money(client) == [(990, 0), (1_000, 0), (10, 0)]
    await transfers.send(client, "ana", "ben", 500)
    assert await money(client) == [(485, 0), (1_500, 0), (15, 0)]


async def test_each_part_is_charged_its_part_in_one_group_that_statements_show(client: wallets.Client) -> None:
    made = await holds.create(client, amount=1_000, reference="r-1")
    for amount, posted_fee in ((333, 3), (99, 4), (None, 10)):
        await holds.post(client, made, amount)
        assert fee(await holds.get(client, made.id)) == (10, posted_fee)
    lines = await transfers.statement(client, "ana")
    charges = [each for each in lines if each.type == FEE]
    assert [(each.amount, each.counterparty, each.reference) for each in charges] == [
        (6, "fees", "r-1"), (1, "fees", "r-1"), (3, "fees", "r-1"),
    ]  # fmt: skip
    parts = [each for each in lines if each.hold_id == made.id]
    assert [each.group_id for each in parts] == [each.group_id for each in charges] == [each.id for each in parts]


async def test_a_hold_saves_nobody_the_fixed_part_or_the_floor(client: wallets.Client) -> None:
    """What is posted of it costs what a transfer of that would cost, and at most what is reserved."""
    await transfers.set_fee(client, fixed_amount=20, parts_per_million=PERCENT, floor_amount=25)
    made = await holds.create(client, amount=1_000)
    assert fee(made) == (30, 0)
    for amount, posted_fee in ((50, 25), (500, 25), (1, 25), (249, 28)):
        await holds.post(client, made, amount)
        assert fee(await holds.get(client, made.id)) == (30, posted_fee)
    await holds.void(client, made)
    assert await money(client) == [(1_172, 0), (800, 0), (28, 0)]


async def test_a_part_is_a_transfer_with_its_fee(client: wallets.Client) -> None:
    made = await holds.create(client, amount=1_000)
    await holds.post(client, made, 500)
    (part,) = [each for each in await transfers.statement(client, "ana") if each.hold_id == made.id]
    request = transfers_pb2.GetTransferRequest(id=part.id)
    shown = await client.transfers.GetTransfer(request, metadata=wallets.metadata("ana", "user"))
    assert (shown.amount, shown.fee_amount, shown.balance_after) == (500, 5, 1_495)


async def test_the_payee_sees_no_fee_and_staff_does(client: wallets.Client) -> None:
    made = await holds.create(client, amount=1_000)
    posted = await holds.post(client, made, 500)
    assert posted.balance_after == 500
    assert not posted.HasField("debit_balance_after")
    assert not posted.HasField("fee_amount")
    assert not posted.HasField("posted_fee_amount")
    assert not (await holds.get(client, made.id, "ben")).HasField("fee_amount")
    assert fee(await holds.get(client, made.id, "fin", "finance")) == (10, 5)


async def test_the_hold_of_the_fee_is_marked_is_in_no_list_and_changes_with_the_other_alone(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    made = await holds.create(client, amount=1_000)
    ((fee_hold,),) = holds.rows(wallets_database, "SELECT id::text FROM holds WHERE fee_of IS NOT NULL")
    for caller, role in (("ana", "user"), ("root", "admin")):
        answer = await client.holds.ListHolds(holds_pb2.ListHoldsRequest(), metadata=wallets.metadata(caller, role))
        assert list(answer.holds) == [made]
    seen = await holds.get(client, fee_hold)
    assert (seen.fee_of, seen.type, seen.amount, seen.credit_account) == (made.id, FEE, 10, "fees")
    assert (await wallets.refused(holds.get(client, fee_hold, "ben"))).reason == "HOLD_NOT_FOUND"
    admin = wallets.metadata("root", "admin", key="k")
    for call in (
        client.holds.PostHold(holds_pb2.PostHoldRequest(id=fee_hold), metadata=admin),
        client.holds.VoidHold(holds_pb2.VoidHoldRequest(id=fee_hold), metadata=wallets.metadata("root", "admin")),
    ):
        assert (await wallets.refused(call)).reason == "HOLD_HAS_FEE"
    (result,) = await client.post(wallets.transfer("user/ana", "user/ben", 10, hold_id=made.id))
    assert result.error.reason == "HOLD_HAS_FEE"
    both = await client.post(
        wallets.transfer("user/ana", "user/ben", 1_000, hold_id=made.id, linked=True),
        wallets.transfer("user/ana", "fees", 10, type_="FEE", hold_id=fee_hold),
    )
    assert [each.error.reason for each in both] == ["HOLD_HAS_FEE", "LINKED_TRANSFER_REFUSED"]
    assert await holds.get(client, made.id) == made


async def test_what_is_given_back_gives_the_fee_back_too(client: wallets.Client) -> None:
    voided = await holds.create(client, amount=1_000)
    await holds.post(client, voided, 550)
    await holds.void(client, voided)
    assert await holds.void(client, voided) == await holds.void(client, voided, key="k")
    released = await holds.create(client, amount=1_000)
    await holds.post(client, released, 199, release_rest=True)
    assert await money(client) == [(2_000 - 555 - 200, 0), (749, 0), (6, 0)]
    assert fee(await holds.get(client, voided.id)) == (10, 5)


async def test_a_hold_that_expires_gives_the_fee_back_too(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    made = await holds.create(client, amount=1_000, expires_after_seconds=1)
    await holds.until_over(wallets_database, made)
    assert (await client.account("user/ana")).available_amount == 2_000
    await holds.until_recorded(wallets_database, made, "EXPIRED")
    await client.fund("ana", 1)
    assert holds.rows(wallets_database, "SELECT DISTINCT status FROM holds") == [("EXPIRED",)]
    assert await wallets.refused(holds.post(client, made))


@pytest.mark.parametrize(("amount", "fee_amount"), [(1_982, "0.19"), (2_000, "0.20"), (5_000, "0.50")])
async def test_a_refusal_says_what_hold_and_fee_need_together(
    client: wallets.Client, amount: int, fee_amount: str
) -> None:
    status = await wallets.refused(holds.create(client, amount=amount))
    needed = amount + amount // 100
    assert (status.code, status.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS")
    assert {name: status.metadata[name] for name in ("available", "held", "needed", "fee")} == {
        "available": "20.00", "held": "0.00", "needed": f"{needed / 100:.2f}", "fee": fee_amount,
    }  # fmt: skip
    account = await client.account("user/ana")
    assert (account.balance, account.held_amount) == (2_000, 0)


async def test_every_repetition_finds_the_fee_of_then(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    made = await holds.create(client, amount=1_000, key="k")
    await transfers.set_fee(client, parts_per_million=5 * PERCENT)
    holds.rows(wallets_database, FORGET_THE_ANSWERS)
    assert await holds.create(client, amount=1_000, key="k") == made
    for key, amount, posted_fee in (("p", 550, 5), ("q", 100, 6), ("r", None, 10)):
        posted = await holds.post(client, made, amount, key=key)
        holds.rows(wallets_database, FORGET_THE_ANSWERS)
        assert await holds.post(client, made, amount, key=key) == posted
        assert fee(await holds.get(client, made.id)) == (10, posted_fee)
    assert await money(client) == [(990, 0), (1_000, 0), (10, 0)]


async def test_a_storm_of_one_call_makes_one_hold_while_the_schedule_changes(client: wallets.Client) -> None:
    async def change() -> None:
        for parts in (0, 2, 0, 3):
            await transfers.set_fee(client, parts_per_million=parts * PERCENT)

    made, *_, _ = await asyncio.gather(*(holds.create(client, amount=1_000, key="k") for _ in range(40)), change())
    assert (await client.account("user/ana")).held_amount == 1_000 + made.fee_amount


async def test_parts_that_meet_take_the_fee_together_to_the_minor_unit(client: wallets.Client) -> None:
    made = await holds.create(client, amount=999)
    assert made.fee_amount == 9
    posts: list[Any] = [holds.post(client, made, 37) for _ in range(40)]
    answers, reasons = await transfers.outcomes(posts)
    assert (len(answers), reasons.count("HOLD_EXCEEDED") + reasons.count("HOLD_ENDED")) == (27, 13)
    assert fee(await holds.get(client, made.id)) == (9, 9)
    assert await money(client) == [(2_000 - 999 - 9, 0), (999, 0), (9, 0)]


async def test_of_posts_and_voids_one_kind_wins_and_the_fee_goes_with_it(client: wallets.Client) -> None:
    made = await holds.create(client, amount=1_000)
    answers, _ = await transfers.outcomes(call(client, made) for _ in range(20) for call in (holds.post, holds.void))
    posted = holds_pb2.HOLD_STATUS_POSTED in {each.status for each in answers}
    assert len(answers) == (1 if posted else 20)
    found = await holds.get(client, made.id)
    assert fee(found) == (10, 10 if posted else 0)
    assert (await client.account("user/ana")).balance == (990 if posted else 2_000)


async def test_a_reversed_part_leaves_its_fee(client: wallets.Client) -> None:
    await holds.post(client, await holds.create(client, amount=1_000))
    (part,) = [each for each in await transfers.statement(client, "ben") if each.amount == 1_000]
    await transfers.reverse(client, part.id)
    assert await money(client) == [(1_990, 0), (0, 0), (10, 0)]


async def test_only_holds_between_users_have_a_fee(client: wallets.Client) -> None:
    await holds.create(client, amount=1_000)
    for fields in (
        {"credit_account": "distributor/d1"},
        {"to_user_id": "ben", "type": ledger_pb2.TRANSFER_TYPE_WITHDRAWAL},
    ):
        request = holds_pb2.CreateHoldRequest(user_id="ana", amount=100, currency="HTG", **fields)
        made = await client.holds.CreateHold(request, metadata=wallets.metadata("p", "service", key=str(fields)[:60]))
        assert not made.HasField("fee_amount")


async def test_what_a_hold_costs_cannot_be_changed(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    made = await holds.create(client, amount=1_000)
    for column, value in (("fee_amount", 0), ("fee_of", None)):
        with pytest.raises(psycopg.errors.RestrictViolation):
            holds.rows(wallets_database, f"UPDATE holds SET {column} = %s WHERE id = %s", value, made.id)
