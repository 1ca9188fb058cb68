"""Calls about holds that are repeated: by a client that is unsure, or after the process died in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from kobklein.wallets.v1 import holds_pb2
from tests import databases, holds, ledger_oracle, wallets

FORGET_THE_ANSWER = "UPDATE idempotency_keys SET answer = NULL WHERE key = %s RETURNING key"
"""Makes things as they are when a process dies after the effect, and before its answer is kept."""


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await client.fund("ana", 100)
        yield client
        ledger_oracle.check(wallets_database.superuser_url)


async def answered(call: Any) -> tuple[holds_pb2.Hold, bool]:
    """Return the answer to a call, and whether it is marked as a repetition."""
    answer = await call
    return answer, ("idempotency-replayed", "true") in [tuple(each) for each in await call.trailing_metadata()]


def create(client: wallets.Client, key: str, **fields: Any) -> Awaitable[holds_pb2.Hold]:
    given = {"to_user_id": "ben", "amount": 25, "currency": "HTG", "to_new_user": True, **fields}
    request = holds_pb2.CreateHoldRequest(**given)
    call: Awaitable[holds_pb2.Hold] = client.holds.CreateHold(request, metadata=holds.user("ana", key))
    return call


def post(client: wallets.Client, hold: holds_pb2.Hold, key: str, **fields: Any) -> Awaitable[holds_pb2.Hold]:
    request = holds_pb2.PostHoldRequest(id=hold.id, currency="HTG", **fields)
    call: Awaitable[holds_pb2.Hold] = client.holds.PostHold(request, metadata=holds.user("ben", key))
    return call


def void(client: wallets.Client, hold: holds_pb2.Hold, key: str) -> Awaitable[holds_pb2.Hold]:
    call: Awaitable[holds_pb2.Hold] = client.holds.VoidHold(
        holds_pb2.VoidHoldRequest(id=hold.id), metadata=holds.user("ben", key)
    )
    return call


async def test_every_repetition_gets_the_first_answer_whatever_came_after_it(client: wallets.Client) -> None:
    made, first = await answered(create(client, "k"))
    posted, first_part = await answered(post(client, made, "p", amount=10))
    voided, first_void = await answered(void(client, made, "v"))
    assert (first, first_part, first_void) == (False, False, False)
    assert await answered(create(client, "k")) == (made, True)
    assert await answered(post(client, made, "p", amount=10)) == (posted, True)
    assert await answered(void(client, made, "v")) == (voided, True)


async def test_a_key_goes_with_one_body_only(client: wallets.Client) -> None:
    made = await create(client, "k")
    await post(client, made, "p", amount=10)
    for call in (
        create(client, "k", amount=26),
        create(client, "k", description="x"),
        post(client, made, "p", amount=11),
        post(client, made, "p", amount=10, release_rest=True),
    ):
        status = await wallets.refused(call)
        assert (status.reason, status.http_status) == ("IDEMPOTENCY_KEY_REUSED", 422)
    assert (await holds.get(client, made.id)).posted_amount == 10


async def test_a_key_belongs_to_its_caller(client: wallets.Client) -> None:
    await client.fund("eva", 100)
    mine = await create(client, "k")
    theirs = await holds.create(client, "eva", key="k")
    assert mine.id != theirs.id


async def test_a_storm_of_identical_calls_makes_one_hold_and_posts_one_part(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    answers = await asyncio.gather(*(create(client, "k") for _ in range(40)))
    assert answers.count(answers[0]) == 40
    parts = await asyncio.gather(*(post(client, answers[0], "p", amount=10) for _ in range(40)))
    assert parts.count(parts[0]) == 40
    rests = await asyncio.gather(*(post(client, answers[0], "r") for _ in range(40)))
    assert rests.count(rests[0]) == 40
    assert holds.rows(wallets_database, "SELECT amount FROM transfers WHERE hold_id IS NOT NULL ORDER BY 1") == [
        (10,), (15,),
    ]  # fmt: skip


async def test_a_process_that_dies_before_the_answer_is_kept_leaves_what_a_repetition_finds(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    made = await create(client, "k")
    holds.rows(wallets_database, FORGET_THE_ANSWER, "k")
    assert await create(client, "k") == made
    for key, fields, posted_amount in (("p", {"amount": 10}, 10), ("q", {"amount": 10}, 20), ("r", {}, 25)):
        await post(client, made, key, **fields)
        holds.rows(wallets_database, FORGET_THE_ANSWER, key)
        again = await post(client, made, key, **fields)
        assert again.posted_amount == posted_amount
    assert again.status == holds_pb2.HOLD_STATUS_POSTED
    assert holds.rows(wallets_database, "SELECT count(*), sum(amount) FROM transfers WHERE hold_id IS NOT NULL") == [
        (3, 25),
    ]  # fmt: skip


async def test_a_void_whose_answer_was_lost_is_answered_again(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    made = await create(client, "k")
    voided = await void(client, made, "v")
    holds.rows(wallets_database, FORGET_THE_ANSWER, "v")
    assert await void(client, made, "v") == voided


async def test_a_key_whose_call_died_before_its_effect_stays_with_its_body_and_waits_for_nobody(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    """A refused call leaves its key as a dead one does: claimed, without an effect or an answer."""
    assert (await wallets.refused(create(client, "k", amount=101))).reason == "INSUFFICIENT_FUNDS"
    assert (await wallets.refused(create(client, "k", amount=1))).reason == "IDEMPOTENCY_KEY_REUSED"
    assert holds.rows(wallets_database, "SELECT answer, leased_until FROM idempotency_keys") == [(None, None)]
    await client.fund("ana", 1)
    made, repeated = await answered(create(client, "k", amount=101))
    assert (made.remaining_amount, repeated) == (101, False)


async def test_each_hold_and_each_part_without_a_key_is_another(client: wallets.Client) -> None:
    await client.fund("ana", 50)
    request = holds_pb2.CreateHoldRequest(to_user_id="ben", amount=5, currency="HTG", to_new_user=True)
    made = [await client.holds.CreateHold(request, metadata=wallets.metadata("ana", "user")) for _ in range(2)]
    assert made[0].id != made[1].id
    part = holds_pb2.PostHoldRequest(id=made[0].id.upper(), amount=1, currency="HTG")
    posted = [await client.holds.PostHold(part, metadata=wallets.metadata("ben", "user")) for _ in range(2)]
    assert (posted[1].posted_amount, posted[0].transfer_id != posted[1].transfer_id) == (2, True)


async def test_a_call_has_its_effect_once_even_when_its_key_is_forgotten(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    made = await create(client, "k")
    await post(client, made, "p", amount=10)
    assert holds.rows(wallets_database, "DELETE FROM idempotency_keys RETURNING key")
    assert (await create(client, "k")).id == made.id
    assert (await post(client, made, "p", amount=10)).posted_amount == 10
    account = await client.account("user/ana")
    assert (account.balance, account.held_amount) == (90, 15)
    other = await create(client, "l")
    assert holds.rows(wallets_database, "DELETE FROM idempotency_keys RETURNING key")
    for call, reason in (
        (create(client, "k", amount=26), "HOLD_ID_REUSED"),
        (post(client, other, "p", amount=10), "TRANSFER_ID_REUSED"),
    ):
        assert (await wallets.refused(call)).reason == reason


async def test_a_hold_is_repeated_whatever_its_time_would_be_by_now(wallets_database: databases.Database) -> None:
    """The default is a setting, which may change between a call and its repetition."""
    async with wallets.running(wallets_database, hold_seconds=600) as client:
        await client.fund("ana", 100)
        made, chosen = await create(client, "k"), await create(client, "l", expires_after_seconds=600)
    holds.rows(wallets_database, "UPDATE idempotency_keys SET answer = NULL RETURNING key")
    async with wallets.running(wallets_database, hold_seconds=700) as client:
        assert await create(client, "k") == made
        assert await create(client, "l", expires_after_seconds=600) == chosen
