"""Posts, voids and expiry that meet at one hold: exactly one of them wins, and the money is exact."""

import asyncio
import collections
import itertools
import random
from collections.abc import AsyncIterator, Awaitable

import grpc
import pytest

from kobklein import errors
from kobklein.wallets.v1 import holds_pb2
from tests import databases, holds, ledger_oracle, wallets
from tests.sizes import size

pytestmark = pytest.mark.chaos
Replicas = tuple[wallets.Client, wallets.Client]
ROUNDS = size(5, 500)


@pytest.fixture
async def replicas(wallets_database: databases.Database) -> AsyncIterator[Replicas]:
    async with wallets.running(wallets_database) as one, wallets.running(wallets_database) as other:
        yield one, other
        ledger_oracle.check(wallets_database.superuser_url)
        assert (await one.verify()).balanced


async def outcome(call: Awaitable[holds_pb2.Hold]) -> str:
    """Return as what a call sees the hold, or why it is refused."""
    try:
        return holds_pb2.HoldStatus.Name((await call).status).removeprefix("HOLD_STATUS_")
    except grpc.aio.AioRpcError as error:
        return errors.from_rpc_error(error).reason


async def balances(client: wallets.Client, *users: str) -> list[int]:
    return [(await client.account(f"user/{user}")).balance for user in users]


async def test_of_a_hundred_posts_of_the_whole_one_wins(replicas: Replicas) -> None:
    for number in range(ROUNDS):
        payer, payee = f"p{number}", f"q{number}"
        await replicas[0].fund(payer, 100)
        made = await holds.create(replicas[0], payer, to_user_id=payee, amount=100)
        racers = [outcome(holds.post(replica, made, 100, caller=payee)) for replica in replicas * 50]
        assert collections.Counter(await asyncio.gather(*racers)) == {"POSTED": 1, "HOLD_ENDED": 99}
        assert await balances(replicas[0], payer, payee) == [0, 100]


async def test_of_posts_and_voids_one_kind_wins(replicas: Replicas) -> None:
    """Voiding again is answered like voiding, so all voids win together; of the posts only one can."""
    for number in range(ROUNDS):
        payer, payee = f"p{number}", f"q{number}"
        await replicas[0].fund(payer, 100)
        made = await holds.create(replicas[0], payer, to_user_id=payee, amount=100)
        racers = [outcome(holds.post(replica, made, caller=payee)) for replica in replicas * 25]
        racers += [outcome(holds.void(replica, made, caller=payee)) for replica in replicas * 25]
        random.shuffle(racers)
        found = collections.Counter(await asyncio.gather(*racers))
        posted, voided = {"POSTED": 1, "HOLD_ENDED": 99}, {"VOIDED": 50, "HOLD_ENDED": 50}
        assert found in (posted, voided)
        assert await balances(replicas[0], payer, payee) == ([0, 100] if found == posted else [100, 0])


async def test_parts_that_meet_never_take_more_than_is_held(replicas: Replicas) -> None:
    await replicas[0].fund("ana", 1_000)
    made = await holds.create(replicas[0], amount=90)
    racers = [outcome(holds.post(replica, made, 7)) for replica in replicas * 50]
    found = collections.Counter(await asyncio.gather(*racers))
    assert found == {"PENDING": 12, "HOLD_EXCEEDED": 88}
    rest = [outcome(holds.post(replica, made)) for replica in replicas * 5]
    assert collections.Counter(await asyncio.gather(*rest)) == {"POSTED": 1, "HOLD_ENDED": 9}
    assert await balances(replicas[0], "ana", "ben") == [910, 90]


async def test_parts_that_meet_the_expiry_are_taken_before_it_or_not_at_all(replicas: Replicas) -> None:
    """Many take one unit after the other until the hold's time is over; voids come too late as well then."""
    await replicas[0].fund("ana", 1_000_000)
    made = await holds.create(replicas[0], amount=1_000_000, expires_after_seconds=1)

    async def take(replica: wallets.Client) -> tuple[int, str]:
        for taken in itertools.count():
            found = await outcome(holds.post(replica, made, 1))
            if found != "PENDING":
                return taken, found
        raise AssertionError

    ends = await asyncio.gather(*(take(replica) for replica in replicas * 10))
    assert {reason for _, reason in ends} == {"HOLD_ENDED"}
    taken = sum(count for count, _ in ends)
    assert taken > 0
    assert await outcome(holds.void(replicas[0], made)) == "HOLD_ENDED"
    seen = await holds.get(replicas[1], made.id)
    assert (seen.status, seen.posted_amount) == (holds_pb2.HOLD_STATUS_EXPIRED, taken)
    assert await balances(replicas[0], "ana", "ben") == [1_000_000 - taken, taken]
    assert (await replicas[1].account("user/ana")).available_amount == 1_000_000 - taken


async def test_the_last_cent_is_held_or_spent_once(replicas: Replicas) -> None:
    for number in range(ROUNDS):
        user = f"p{number}"
        await replicas[0].fund(user, 1)

        async def spend(replica: wallets.Client, user: str = user) -> str:
            (result,) = await replica.post(wallets.transfer(f"user/{user}", "fees", 1))
            return result.error.reason or "SPENT"

        racers = [outcome(holds.create(replica, user, amount=1)) for replica in replicas * 25]
        racers += [spend(replica) for replica in replicas * 25]
        random.shuffle(racers)
        found = collections.Counter(await asyncio.gather(*racers))
        assert found.pop("INSUFFICIENT_FUNDS") == 99
        assert list(found.values()) == [1]
