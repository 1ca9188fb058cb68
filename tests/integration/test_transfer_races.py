"""Transfers and reversals that meet, on two replicas: one winner, one effect a key, and the last cent spent once."""

import asyncio
import collections
import itertools
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from kobklein.wallets.v1 import ledger_pb2, transfers_pb2
from tests import databases, transfers, wallets
from tests.sizes import size

Replicas = tuple[wallets.Client, wallets.Client]


@pytest.fixture
async def replicas(wallets_database: databases.Database) -> AsyncIterator[Replicas]:
    async with wallets.running(wallets_database) as one, wallets.running(wallets_database) as other:
        await one.fund("ana", 10_000)
        yield one, other


async def reversed_amount(client: wallets.Client, id_: str) -> int:
    return (await transfers.get(client, id_, caller=transfers.FINANCE)).reversed_amount


@pytest.mark.chaos
async def test_of_a_hundred_who_take_all_of_it_back_one_does(replicas: Replicas) -> None:
    await replicas[0].fund("ben", 100_000)
    for _ in range(size(1, 500)):
        original = await transfers.send(replicas[0], "ana", "ben", 700)
        made, reasons = await transfers.outcomes(
            transfers.reverse(replica, original.id, amount) for replica in replicas for amount in (None, 700) * 25
        )
        assert [each.amount for each in made] == [700]
        assert reasons == ["REVERSAL_EXCEEDED"] * 99
        assert await reversed_amount(replicas[1], original.id) == 700
        assert (await replicas[0].account("user/ana")).balance == 10_000
    assert (await replicas[0].verify()).balanced


async def test_a_hundred_parts_take_back_no_more_than_there_was(replicas: Replicas) -> None:
    original = await transfers.send(replicas[0], "ana", "ben", 1_000)
    await replicas[0].fund("ben", 100_000)
    made, reasons = await transfers.outcomes(
        transfers.reverse(replica, original.id, 30) for replica in replicas for _ in range(50)
    )
    assert [each.amount for each in made] == [30] * 33
    assert reasons == ["REVERSAL_EXCEEDED"] * 67
    assert await reversed_amount(replicas[0], original.id) == 990
    assert (await transfers.reverse(replicas[1], original.id)).amount == 10


async def test_parts_of_every_size_and_the_rest_add_up_to_all_of_it(replicas: Replicas) -> None:
    original = await transfers.send(replicas[0], "ana", "ben", 1_000)
    await replicas[0].fund("ben", 100_000)
    chance = random.Random(7)
    amounts = [None if number % 10 == 0 else chance.randint(1, 60) for number in range(100)]
    made, reasons = await transfers.outcomes(
        transfers.reverse(chance.choice(replicas), original.id, amount) for amount in amounts
    )
    taken = sum(each.amount for each in made)
    assert 0 < taken <= 1_000
    assert set(reasons) == {"REVERSAL_EXCEEDED"}
    assert await reversed_amount(replicas[0], original.id) == taken
    assert (await replicas[0].account("user/ana")).balance == 9_000 + taken
    assert (await replicas[0].verify()).balanced


async def test_one_key_takes_all_that_is_left_once_while_others_take_parts(replicas: Replicas) -> None:
    originals = [await transfers.send(replicas[0], "ana", "ben", 100) for _ in range(10)]
    for number, original in enumerate(originals):
        same = [transfers.reverse(replica, original.id, key=f"k-{number}") for replica in replicas for _ in range(10)]
        parts = [transfers.reverse(replica, original.id, 7) for replica in replicas for _ in range(3)]
        (made, reasons), (taken, _) = await asyncio.gather(transfers.outcomes(same), transfers.outcomes(parts))
        assert all(each == made[0] for each in made)
        assert set(reasons) <= {"REVERSAL_EXCEEDED"}
        total = sum(each.amount for each in [*made[:1], *taken])
        assert await reversed_amount(replicas[0], original.id) == total <= 100


async def test_a_hundred_who_spend_the_last_cents_spend_exactly_those(replicas: Replicas) -> None:
    await transfers.set_fee(replicas[0], fixed_amount=1)
    await transfers.send(replicas[0], "ana", "ben", 505)
    made, reasons = await transfers.outcomes(
        transfers.send(replica, "ben", f"u{number}", 10) for replica in replicas for number in range(50)
    )
    assert (len(made), reasons) == (45, ["INSUFFICIENT_FUNDS"] * 55)
    assert sorted(each.balance_after for each in made) == list(range(10, 505, 11))
    balances = {name: (await replicas[0].account(name)).balance for name in ("user/ben", "fees")}
    assert balances == {"user/ben": 10, "fees": 46}
    report = await replicas[1].verify()
    assert (report.balanced, report.transfer_count) == (True, 1 + 2 + 45 * 2)


async def _changing_fees(client: wallets.Client, ended: asyncio.Event) -> None:
    """Change the schedule for as long as the others transfer; between two of the changes there is no fee at all."""
    fees: Iterator[int] = itertools.count(1)
    while not ended.is_set():
        await transfers.set_fee(client, fixed_amount=next(fees))
        await transfers.set_fee(client, parts_per_million=next(fees))
        await transfers.delete_fee(client)


async def test_a_storm_of_repetitions_has_one_effect_a_key_while_fees_change(replicas: Replicas) -> None:
    await replicas[0].fund("ana", 1_000_000)
    ended = asyncio.Event()
    changes = asyncio.create_task(_changing_fees(replicas[0], ended))
    keys = [f"k-{number}" for number in range(30)]
    calls = [(key, replica) for key in keys for replica in replicas * 10]
    random.Random(7).shuffle(calls)
    answers = await asyncio.gather(*(transfers.send(replica, "ana", "ben", 100, key=key) for key, replica in calls))
    ended.set()
    await changes
    by_key: dict[str, list[transfers_pb2.UserTransfer]] = collections.defaultdict(list)
    for (key, _), answer in zip(calls, answers, strict=True):
        by_key[key].append(answer)
    assert all(same.count(same[0]) == 20 for same in by_key.values())
    first = {key: same[0] for key, same in by_key.items()}
    assert len({answer.id for answer in first.values()}) == 30
    for key, answer in first.items():
        request = transfers_pb2.CreateTransferRequest(to_user_id="ben", amount=100, to_new_user=True)
        again = replicas[1].transfers.CreateTransfer(request, metadata=transfers.user("ana", key))
        assert await transfers.replayed(again) == (answer, True)
    fees = [answer.fee_amount for answer in first.values()]
    listed = await replicas[0].ledger.ListAccounts(ledger_pb2.ListAccountsRequest(), metadata=wallets.AS_SERVICE)
    balances = {account.address: account.balance for account in listed.accounts}
    assert (balances["user/ben"], balances.get("fees", 0)) == (3_000, sum(fees))
    assert balances["user/ana"] == 1_010_000 - 3_000 - sum(fees)
    report = await replicas[0].verify()
    assert (report.balanced, report.transfer_count) == (True, 2 + 30 + sum(fee > 0 for fee in fees))
